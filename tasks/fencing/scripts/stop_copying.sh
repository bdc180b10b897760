# stop_copying.sh SHARE: nobody copies into the share's trees any more: who held the lock of a copy is gone.
lock=/run/packmaster/sync-$1.lock
mkdir -p /run/packmaster
tries=0
until flock -x -n "$lock" true; do
    tries=$((tries + 1))
    if [ "$tries" -ge 50 ]; then
        echo "something still copies into the share; it holds $lock" >&2
        exit 1
    fi
    for entry in /proc/[0-9]*; do
        case "$(readlink "$entry/fd/"* 2>/dev/null)" in *"$lock"*) kill -KILL "${entry#/proc/}" 2>/dev/null || : ;; esac
    done
    sleep 0.2
done
