# php_version.sh: prints it.
php_version
