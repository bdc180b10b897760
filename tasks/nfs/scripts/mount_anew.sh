# mount_anew.sh SECONDS (KIND SOURCE POINT OPTIONS)...: each is mounted there, in place of what is mounted now.
# Options and server are tried elsewhere first, so that a mistake costs nobody a mount; then all are unmounted,
# and only then is one mounted.
seconds=$1
shift
stopped='' detached=''
trap 'for unit in $stopped; do systemctl start "$unit"; done' EXIT

each() { # COMMAND (KIND SOURCE POINT OPTIONS)...
    command=$1
    shift
    while [ $# -gt 0 ]; do
        "$command" "$1" "$2" "$3" "$4"
        shift 4
    done
}
try() {
    is_mounted "$3" || return 0
    # In a mount namespace of its own, which ends with the process.
    mkdir -p /run/packmaster
    mount_with 'unshare -m mount -n' "$1" "$2" /run/packmaster "$4"
}
unmount() { timeout -k 2 "$seconds" umount "$1" 2>&1; }
stop_php() {
    for unit in $(systemctl list-units --type=service --state=running --plain --no-legend 'php*-fpm.service' | cut -d ' ' -f 1); do
        stopped="$stopped $unit"
        timeout -k 2 "$seconds" systemctl stop "$unit" || :
    done
}
detach() {
    is_mounted "$3" || return 0
    if ! said=$(unmount "$3"); then
        # PHP that is just answering from it: it may finish, and starts again in any case.
        stop_php
        tries=0
        until said=$(unmount "$3"); do
            tries=$((tries + 1))
            if [ "$tries" -ge 5 ]; then
                printf '%s; it stays as it was. ' "$said" >&2
                name_holders "$3" >&2
                for point in $detached; do timeout -k 2 "$seconds" mount "$point" || :; done
                exit 1
            fi
            sleep 1
        done
    fi
    detached="$detached $3"
}
put() { mount_with mount "$@"; }

each try "$@"
each detach "$@"
each put "$@"
