<?php
// Part of every release, and the same for every site: what differs comes from the virtual host's environment
// (database, site name) and from the site's own settings.php (seed and table prefix), which holds no password.

function packmaster_env(string $name): string
{
    $value = $_SERVER[$name] ?? getenv($name);
    return is_string($value) ? $value : '';
}

// The name of a site is never taken from the request; only the port is, and only together with that name, so
// that a site behind a published port or a tunnel keeps working.
function packmaster_url(): string
{
    $secure = !empty($_SERVER['HTTPS']) && strtolower((string) $_SERVER['HTTPS']) !== 'off';
    $site = packmaster_env('PACKMASTER_SITE');
    $asked = strtolower((string) ($_SERVER['HTTP_HOST'] ?? ''));
    $port = preg_match('/^' . preg_quote($site, '/') . '(:[0-9]{1,5})$/D', $asked, $found) ? $found[1] : '';
    return ($secure ? 'https://' : 'http://') . $site . $port;
}

if (packmaster_env('PACKMASTER_SITE') === '' || packmaster_env('DB_NAME') === '') {
    http_response_code(503);
    exit("This code is run by Packmaster: the virtual host has to say which site it is.\n");
}

define('DB_NAME', packmaster_env('DB_NAME'));
define('DB_USER', packmaster_env('DB_USER'));
define('DB_PASSWORD', packmaster_env('DB_PASSWORD'));
// An IPv6 address has its brackets already, as wpdb::parse_db_host wants it before a port.
define('DB_HOST', packmaster_env('DB_HOST') . ':' . packmaster_env('DB_PORT'));
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');

// So that no phpinfo() and no error page shows it.
unset($_SERVER['DB_PASSWORD'], $_ENV['DB_PASSWORD']);
putenv('DB_PASSWORD');

define('WP_HOME', packmaster_url());
define('WP_SITEURL', packmaster_url());

// Code is the same on every node and comes with a release; nothing may change it in place.
define('DISALLOW_FILE_MODS', true);
define('DISALLOW_FILE_EDIT', true);
define('AUTOMATIC_UPDATER_DISABLED', true);
define('WP_AUTO_UPDATE_CORE', false);

require packmaster_env('PACKMASTER_DATA') . '/settings.php';

foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $purpose) {
    define($purpose . '_KEY', hash_hmac('sha256', $purpose . '_KEY', PACKMASTER_SEED));
    define($purpose . '_SALT', hash_hmac('sha256', $purpose . '_SALT', PACKMASTER_SEED));
}

defined('WP_DEBUG') || define('WP_DEBUG', false);
if (!defined('ABSPATH')) {
    define('ABSPATH', __DIR__ . '/');
}
require_once ABSPATH . 'wp-settings.php';
