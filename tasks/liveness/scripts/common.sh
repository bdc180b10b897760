# Put before the other scripts. Mount tables are read; nothing on a mount is touched without a bound.
note=/run/packmaster/drained

is_mounted() { awk -v point="$1" '$5 == point { found = 1 } END { exit !found }' /proc/self/mountinfo; }

# service(8) asks systemd three things more than it needs to know.
if [ -d /run/systemd/system ]; then
    is_running() { systemctl is-active --quiet "$1"; }
    control() { timeout -k 2 "$3" systemctl "$1" "$2" >/dev/null 2>&1 </dev/null; }
else
    is_running() { service "$1" status >/dev/null 2>&1 </dev/null; }
    control() { timeout -k 2 "$3" service "$2" "$1" >/dev/null 2>&1 </dev/null; }
fi

# Who has something of $1 open, or stands in it: links of /proc, which can be read while the mount hangs. One process
# reads them all: a small machine would need seconds to start one for each.
name_holders() {
    find /proc/[0-9]*/cwd /proc/[0-9]*/root /proc/[0-9]*/exe /proc/[0-9]*/fd -maxdepth 1 \
        \( -lname "$1" -o -lname "$1/*" \) 2>/dev/null | cut -d / -f 3 | sort -u | while read -r process; do
        printf '%s(%s) ' "$process" "$(cat "/proc/$process/comm" 2>/dev/null)"
    done
}
