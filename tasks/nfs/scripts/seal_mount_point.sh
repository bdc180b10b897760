# seal_mount_point.sh POINT: beneath whatever is mounted there is an empty directory of root's.
[ -e "${1%/*}" ] || { echo "${1%/*} is not there" >&2; exit 1; }
beneath '
    [ ! -L "$1" ] || { echo "$1 is a symbolic link" >&2; exit 1; }
    [ -d "$1" ] || mkdir "$1"
    [ -z "$(ls -A "$1")" ] || { echo "$1 is not empty beneath the mount" >&2; exit 1; }
    chown root:root "$1"
    chmod 0555 "$1"' "$1"
