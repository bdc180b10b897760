# force_off.sh POINT...: nothing is mounted there, whoever still holds what was. It was mounted from a server that is
# out of action, so that nothing is lost by force that was not lost; who holds on gets errors, and is named.
for point in "$@"; do
    tries=0
    while is_mounted "$point"; do
        # Requests that wait are failed first: else an unmount would wait with them.
        ! timeout -k 1 5 umount -c -f "$point" >/dev/null 2>&1 </dev/null || continue
        holders=$(name_holders "$point")
        ! timeout -k 1 5 umount -c -l "$point" >/dev/null 2>&1 </dev/null || {
            [ -z "$holders" ] || echo "$point: still held from before by $holders"
            continue
        }
        tries=$((tries + 1))
        [ "$tries" -lt 5 ] || { echo "$point cannot be unmounted, not by force either" >&2; exit 1; }
        sleep 0.5
    done
done
