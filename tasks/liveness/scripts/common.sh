# Put before the other scripts. Mount tables are read; nothing on a mount is touched without a bound.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd /
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

# Who has something of $1 open, or stands in it: links of /proc, which can be read while the mount hangs.
name_holders() {
    for entry in /proc/[0-9]*; do
        case "$(readlink "$entry/cwd" "$entry/root" "$entry/exe" "$entry/fd/"* 2>/dev/null)" in
            *"$1"*) printf '%s(%s) ' "${entry#/proc/}" "$(cat "$entry/comm" 2>/dev/null)" ;;
        esac
    done
}
