# mount_anew.sh KIND SOURCE POINT OPTIONS SECONDS: it is mounted there, in place of what is mounted now.
# Options and server are tried elsewhere first, so that a mistake costs nobody a mount.
kind=$1 source=$2 point=$3 options=$4 seconds=$5
stopped=''
trap 'for unit in $stopped; do systemctl start "$unit"; done' EXIT
case $kind in
    bind) set -- --bind ;;
    *)
        want_no_delegations
        set -- -t nfs -o "$options"
        ;;
esac
detach() { timeout -k 2 "$seconds" umount "$point" 2>&1; }
if is_mounted "$point"; then
    # In a mount namespace of its own, which ends with the process.
    mkdir -p /run/packmaster
    timeout -k 2 "$seconds" unshare -m mount -n "$@" "$source" /run/packmaster
    if ! said=$(detach); then
        # PHP that is just answering from it: it may finish, and starts again in any case.
        for unit in $(systemctl list-units --type=service --state=running --plain --no-legend 'php*-fpm.service' | cut -d ' ' -f 1); do
            stopped="$stopped $unit"
            timeout -k 2 "$seconds" systemctl stop "$unit" || :
        done
        tries=0
        until said=$(detach); do
            tries=$((tries + 1))
            if [ "$tries" -ge 5 ]; then
                printf '%s; it stays as it was. ' "$said" >&2
                name_holders "$point" >&2
                exit 1
            fi
            sleep 1
        done
    fi
fi
timeout -k 2 "$seconds" mount "$@" "$source" "$point"
