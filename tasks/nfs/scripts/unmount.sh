# unmount.sh POINT SECONDS: nothing is mounted there; whoever holds it busy is named, and it stays as it is.
tries=0
while is_mounted "$1"; do
    ! said=$(timeout -k 2 "$2" umount "$1" 2>&1) || continue
    tries=$((tries + 1))
    if [ "$tries" -ge 3 ]; then
        printf '%s; held by: ' "$said" >&2
        name_holders "$1" >&2
        exit 1
    fi
    sleep 1
done
