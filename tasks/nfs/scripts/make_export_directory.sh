# make_export_directory.sh PATH OWNER GROUP MODE DISK: the directory is there, on DISK if one is named.
if [ -n "$5" ] && ! is_mounted "$5"; then
    echo "nothing is mounted at $5" >&2
    exit 1
fi
if [ -L "$1" ]; then
    echo "$1 is a symbolic link" >&2
    exit 1
fi
[ -d "$1" ] || mkdir -m 0700 "$1"
chown -h "$2:$3" "$1"
chmod "$4" "$1"
