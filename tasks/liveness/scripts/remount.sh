# remount.sh KIND SOURCE POINT OPTIONS SECONDS dead|alive: it is mounted there, in place of what is mounted now.
# By force only where what is mounted is dead: it makes the writes of those who still hold a live one fail.
kind=$1 source=$2 point=$3 options=$4 seconds=$5 state=$6
detach() { timeout -k 2 "$seconds" umount -c "$@" "$point" 2>&1 </dev/null; }
while is_mounted "$point"; do
    if [ "$state" = dead ]; then
        ! said=$(detach) || continue
        ! said=$(detach -f) || continue
        holders=$(name_holders "$point")
        if said=$(detach -l); then
            echo "still held from before by $holders"
            continue
        fi
    fi
    let_go "$point" "$seconds" || {
        tell_holders "$point" >&2
        exit 75
    }
done
case $kind in
    bind) timeout -k 2 "$seconds" mount --bind "$source" "$point" ;;
    *) timeout -k 2 "$seconds" mount -t nfs -o "$options" "$source" "$point" ;;
esac </dev/null
