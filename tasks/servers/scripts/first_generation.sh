# first_generation.sh CONFIG NAME: run as the platform user; `live` points to a configuration without any site.
cd "$1"
mkdir -p -m 0700 "generations/$2"
[ -L live ] || ln -s "generations/$2" live
