# drain.sh SECONDS: no php-fpm runs. What ran is noted first, so that just that is started again, after a kill, too.
mkdir -p "${note%/*}"
for script in /etc/init.d/php*-fpm; do
    [ -x "$script" ] || continue
    name=${script##*/}
    is_running "$name" || continue
    grep -qsxF "$name" "$note" || echo "$name" >>"$note"
    # Requests that are being answered may finish; a worker that hangs on the mount would never.
    if [ -d /run/systemd/system ]; then systemctl kill --kill-who=main -s QUIT "$name" 2>/dev/null || :; fi
    ends=$(($(date +%s) + $1))
    while is_running "$name" && [ "$(date +%s)" -lt "$ends" ]; do sleep 0.2; done
    control stop "$name" "$1" || :
    if is_running "$name"; then
        echo "$name does not stop" >&2
        exit 1
    fi
done
[ ! -e "$note" ] || cat "$note"
