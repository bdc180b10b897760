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
stop_php() {
    for unit in $(systemctl list-units --type=service --state=running --plain --no-legend 'php*-fpm.service' | cut -d ' ' -f 1); do
        stopped="$stopped $unit"
        timeout -k 2 "$seconds" systemctl stop "$unit" || :
    done
}
detach() {
    is_mounted "$3" || return 0
    if ! timeout -k 2 "$seconds" umount -c "$3" >/dev/null 2>&1; then
        # PHP that is just answering from it: it may finish, and starts again in any case.
        stop_php
        if ! let_go "$3" "$seconds"; then
            tell_holders "$3" >&2
            echo '; it stays as it was' >&2
            for point in $detached; do timeout -k 2 "$seconds" mount "$point" || :; done
            exit 1
        fi
    fi
    detached="$detached $3"
}
put() { mount_with mount "$@"; }

each try "$@"
each detach "$@"
each put "$@"
