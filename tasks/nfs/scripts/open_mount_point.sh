# open_mount_point.sh POINT USER MODE: the directory beneath is the user's own again.
! is_mounted "$1" || { echo "$1 is still mounted" >&2; exit 1; }
chown "$2:$2" "$1"
chmod "$3" "$1"
