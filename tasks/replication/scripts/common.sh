# Put before the other scripts.

# POINT: ro or rw, or nothing when nothing is mounted there.
mode_of() {
    awk -v point="$1" '$5 == point { split($6, o, ","); mode = o[1] } END { print mode }' /proc/self/mountinfo
}
# LOGIN: its file of public keys.
keys_of() { printf '%s/.ssh/authorized_keys' "$(getent passwd "$1" | cut -d : -f 6)"; }

# SHARE: nobody copies for this share from here any more. Whoever holds the lock was left behind by a controller
# that is gone, for the one that is here holds the share's own lock.
end_copies() {
    mkdir -p /run/packmaster
    tries=0
    until flock -x -n "/run/packmaster/copy-$1.lock" true; do
        tries=$((tries + 1))
        [ "$tries" -lt 50 ] || { echo "something still copies share $1" >&2; exit 1; }
        for entry in /proc/[0-9]*; do
            case "$(readlink "$entry/fd/"* 2>/dev/null)" in
                *"/run/packmaster/copy-$1.lock"*) kill -KILL "${entry#/proc/}" 2>/dev/null || : ;;
            esac
        done
        sleep 0.2
    done
}
