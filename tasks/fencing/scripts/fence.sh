# fence.sh SHARE DISK CODE DATA: nothing of the share is exported here any more, nor after a boot. Each part is
# tried, whatever became of the others; what is so afterwards is looked at by look.sh, and not believed from here.
share=$1 disk=$2 epoch=$(field "$1" epoch)
set +e
# First what holds for ever, should this be cut short.
record "$share" "${epoch:-0}" fenced "$(field "$share" peer)"
# Packets of its clients vanish: they wait, as for a server that is off, and no writer is given an error.
clients=$(listed "$share" "$3" "$4" | sed 's|:/.*||' | tr -d '[]' | sort -u) chain=$(chain "$share")
for filter in iptables ip6tables; do
    "$filter" -N "$chain" 2>/dev/null
    [ -z "$clients" ] || "$filter" -F "$chain" 2>/dev/null
    "$filter" -C INPUT -j "$chain" 2>/dev/null || "$filter" -I INPUT -j "$chain" 2>/dev/null
done
# But for who uses, or may use, what else is exported here: the port is one for all.
others=$(awk -v code="$3" -v data="$4" '$1 != code && $1 != data { sub(/[(].*/, "", $2); print $2 }' /var/lib/nfs/etab 2>/dev/null)
for client in $clients; do
    if [ -n "$others" ]; then
        addresses "$client" "$others" && ! printf '%s\n' "$others" | grep -qxF "$client" || continue
    fi
    case $client in *:*) filter=ip6tables ;; *) filter=iptables ;; esac
    "$filter" -A "$chain" -p tcp --dport 2049 -s "$client" -j DROP 2>/dev/null
done
for each in $(listed "$share" "$3" "$4"); do timeout -k 1 5 exportfs -u "$each" 2>/dev/null; done
rm -f "/etc/exports.d/packmaster-$share.exports"
timeout -k 1 5 exportfs -f
# Its threads end what they are writing. Where others' shares are exported it goes on.
if [ ! -s /var/lib/nfs/etab ]; then
    rm -f /run/packmaster-nfsd-waits  # WAITING in tasks/fencing/gate.py
    timeout -k 2 20 systemctl stop nfs-server
    [ "$(threads)" -eq 0 ] || echo 0 >/proc/fs/nfsd/threads
    [ -z "$disk" ] || timeout -k 2 10 mount -o remount,ro "$disk" 2>/dev/null
fi
timeout -k 2 10 sync
exit 0
