# force_off.sh POINT...: nothing is mounted there, whoever still holds what was. It was mounted from a server that is
# out of action, so that nothing is lost by force that was not lost; who waits for it gets an error.
# A mount that is out of sight cannot be forced any more, and one that is forced in sight is used anew at once, and
# hangs again. So a mount namespace of its own keeps it for some seconds, and forces copies of it, one after the other,
# until whoever waited has got its error, and has closed what it had open. Nobody waits for that to end.
keep='
    outside=$1
    shift
    for point in "$@"; do
        while nsenter --mount="/proc/$outside/ns/mnt" timeout -k 1 5 umount -c -l "$point"; do :; done
    done
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        for point in "$@"; do unshare -m timeout -k 1 2 umount -c -f "$point"; done
        sleep 0.4
    done'
for point in "$@"; do
    holders=$(name_holders "$point")
    [ -z "$holders" ] || echo "$point: held until then by $holders"
done
setsid unshare -m sh -uc "$keep" keep "$$" "$@" </dev/null >/dev/null 2>&1 &
for point in "$@"; do
    tries=0
    while is_mounted "$point"; do
        tries=$((tries + 1))
        [ "$tries" -lt 100 ] || { echo "$point cannot be unmounted, not by force either" >&2; exit 1; }
        sleep 0.2
    done
done
