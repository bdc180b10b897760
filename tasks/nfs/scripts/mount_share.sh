# mount_share.sh SECONDS KIND SOURCE POINT OPTIONS: it is mounted there, over an empty directory.
seconds=$1 kind=$2 source=$3 point=$4 options=$5
! is_mounted "$point" || { echo "something is mounted at $point already" >&2; exit 1; }
[ -z "$(ls -A "$point")" ] || { echo "$point is not empty" >&2; exit 1; }
mount_with mount "$kind" "$source" "$point" "$options"
