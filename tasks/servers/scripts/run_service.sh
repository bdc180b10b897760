# run_service.sh SERVICE [SOCKET]: it runs with the configuration on disk, and listens on SOCKET.
# Its configuration is tested first; output goes to a file, or a daemon that keeps it would keep the connection.
service=$1 socket=${2:-}
if ! said=$(test_service "$service"); then
    printf '%s\n' "$said" >&2
    exit 1
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if is_running "$service"; then action=reload; else action=start; fi
control "$action" "$service" >"$log" 2>&1 </dev/null || {
    cat "$log" >&2
    exit 1
}
tries=0
until is_running "$service" && { [ -z "$socket" ] || [ -S "$socket" ]; }; do
    tries=$((tries + 1))
    if [ "$tries" -ge 50 ]; then
        cat "$log" >&2
        echo "$service does not run${socket:+ or does not listen on $socket} 10 s after its $action" >&2
        exit 1
    fi
    sleep 0.2
done
rm -f "$pending/reload-$service"
