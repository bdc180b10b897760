# Put before the other scripts.
records=/var/lib/packmaster/shares
field() { sed -n "s/^$2 //p" "$records/$1" 2>/dev/null || :; }

# SHARE EPOCH ROLE PEER: it is recorded, and on the disk.
record() {
    mkdir -p -m 0700 "$records"
    (umask 077; printf 'epoch %s\nrole %s\npeer %s\n' "$2" "$3" "$4" >"$records/.$1.new")
    sync "$records/.$1.new"
    mv -f "$records/.$1.new" "$records/$1"
    sync "$records"
}

# SHARE CODE DATA: what of the share is listed, or in force without being so, as exportfs(8) wants it: CLIENT:PATH.
listed() {
    {
        [ ! -f "/etc/exports.d/packmaster-$1.exports" ] || grep -v '^#' "/etc/exports.d/packmaster-$1.exports"
        [ ! -r /var/lib/nfs/etab ] || awk -v code="$2" -v data="$3" '$1 == code || $1 == data' /var/lib/nfs/etab
    } | while read -r path spec; do
        client=${spec%%(*}
        case $client in *:*/*) client="[${client%/*}]/${client##*/}" ;; *:*) client="[$client]" ;; esac
        echo "$client:$path"
    done | sort -u
}
threads() { cat /proc/fs/nfsd/threads 2>/dev/null || echo 0; }
# SHARE: the chain of its rules, of at most 28 characters (iptables(8)), which the name of a share may exceed.
chain() { echo "PACKMASTER-$(printf %s "$1" | cksum | cut -d ' ' -f 1)"; }
# WORD...: each is an address, and no subnet, name or netgroup, of which nobody here knows whom they mean.
addresses() { ! printf '%s\n' "$@" | grep -qvxE '[0-9.]+|[0-9a-fA-F:]*:[0-9a-fA-F:.]*'; }
