# mount_share.sh KIND SOURCE POINT OPTIONS SECONDS: it is mounted there, over an empty directory.
kind=$1 source=$2 point=$3 options=$4 seconds=$5
! is_mounted "$point" || { echo "something is mounted at $point already" >&2; exit 1; }
[ -z "$(ls -A "$point")" ] || { echo "$point is not empty" >&2; exit 1; }
case $kind in
    bind) timeout -k 2 "$seconds" mount --bind "$source" "$point" ;;
    *)
        want_no_delegations
        timeout -k 2 "$seconds" mount -t nfs -o "$options" "$source" "$point"
        ;;
esac
