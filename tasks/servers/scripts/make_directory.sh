# make_directory.sh PATH OWNER GROUP MODE: the directory is there, with nobody's symbolic link in its place.
if [ -L "$1" ]; then
    echo "$1 is a symbolic link" >&2
    exit 1
fi
[ -d "$1" ] || mkdir -m 0700 "$1"
chown -h "$2:$3" "$1"
chmod "$4" "$1"
