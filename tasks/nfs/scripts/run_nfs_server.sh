# run_nfs_server.sh UNIT: it starts at boot, and the kernel has threads for it, and mountd to ask. One that has to
# wait (see tasks/fencing/gate.py) is started by its watch later, and what it waits for is said.
systemctl is-enabled --quiet "$1" || systemctl enable --quiet "$1"
threads() { cat /proc/fs/nfsd/threads 2>/dev/null || echo 0; }
[ "$(threads)" -gt 0 ] || systemctl restart "$1" </dev/null >/dev/null || :
[ "$(threads)" -eq 0 ] || systemctl start nfs-mountd.service </dev/null >/dev/null
if [ "$(threads)" -eq 0 ]; then
    systemctl status --no-pager --lines 5 "$1" >&2 || :
    echo "$1 was started, and the kernel has no thread for it" >&2
    exit 1
fi
