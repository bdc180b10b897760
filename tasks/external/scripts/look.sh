# look.sh: what one server of a cluster says of the share that the cluster keeps available, `word<TAB>value...` a line.
# It only asks, each question within its own limit: a cluster that is in trouble does not answer all of them.
ask() { timeout -k 1 2 "$@" 2>/dev/null </dev/null || :; }
ip -o addr show | awk '{ sub("/.*", "", $4); print "address\t" $4 }'
printf 'threads\t%s\n' "$(cat /proc/fs/nfsd/threads 2>/dev/null || echo 0)"
[ ! -r /var/lib/nfs/etab ] || printf 'table\t%s\n' "$(encode </var/lib/nfs/etab)"
# What clients know the server by: as Pacemaker sets it, as nfs.conf(5) does, or the host's own name.
scope=''
! command -v cibadmin >/dev/null || scope=$(
    ask cibadmin --query --xpath "//nvpair[@name='nfs_server_scope']" | sed -n 's/.* value="\([^"]*\)".*/\1/p' | head -n 1
)
[ -n "$scope" ] || scope=$(ask nfsconf --get nfsd scope)
printf 'scope\t%s\n' "${scope:-$(uname -n)}"
! command -v drbdadm >/dev/null || printf 'drbd\t%s\n' "$(ask drbdadm status | encode)"
if command -v pcs >/dev/null; then
    printf 'cluster\t%s\n' "$(ask pcs status xml | encode)"
elif command -v crm_mon >/dev/null; then
    printf 'cluster\t%s\n' "$(ask crm_mon --one-shot --inactive --output-as=xml | encode)"
fi
