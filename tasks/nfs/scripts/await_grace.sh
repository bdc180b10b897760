# await_grace.sh: the NFS server takes new opens again, which it refuses for a while after it was started.
grace=$(cat /proc/fs/nfsd/nfsv4gracetime 2>/dev/null || echo 90)
left=$((grace + 10))
while [ "$(cat /proc/fs/nfsd/v4_end_grace 2>/dev/null || echo Y)" = N ]; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || { echo "its grace period of $grace s does not end" >&2; exit 1; }
    sleep 1
done
