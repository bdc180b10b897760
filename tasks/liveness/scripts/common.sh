# Put before the other scripts. Mount tables are read; nothing on a mount is touched without a bound.
note=/run/packmaster/drained

# service(8) asks systemd three things more than it needs to know.
if [ -d /run/systemd/system ]; then
    is_running() { systemctl is-active --quiet "$1"; }
    control() { timeout -k 2 "$3" systemctl "$1" "$2" >/dev/null 2>&1 </dev/null; }
else
    is_running() { service "$1" status >/dev/null 2>&1 </dev/null; }
    control() { timeout -k 2 "$3" service "$2" "$1" >/dev/null 2>&1 </dev/null; }
fi
