# first_generation.sh CONFIG NAME: run as the platform user; `live` points to a configuration without any site.
umask 077
mkdir -p "$1/generations/$2"
[ -L "$1/live" ] || ln -s "generations/$2" "$1/live"
