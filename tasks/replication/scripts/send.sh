# send.sh SHARE MODULE PATH DISK HOST PORT LOGIN DELETIONS MODE: one tree goes to the other server. MODE is `copy`, or
# `list`: then nothing is changed there, and every difference is printed as rsync(1) itemizes it.
share=$1 module=$2 path=$3 disk=$4 host=$5 port=$6 login=$7 deletions=$8 mode=$9
folder=/var/lib/packmaster/sync/$share
[ -z "$disk" ] || [ -n "$(mode_of "$disk")" ] || { echo "$disk is not mounted" >&2; exit 1; }
[ -f "$path/.packmaster-sequence" ] || { echo "$path has no token: it is not the share" >&2; exit 1; }
end_copies "$share"
# OpenSSH reads nobody's configuration, and knows one host by the keys that are registered for it.
ssh="ssh -F /dev/null -T -l $login -p $port -i $folder/id_ed25519 -o IdentitiesOnly=yes -o BatchMode=yes"
ssh="$ssh -o UserKnownHostsFile=$folder/known_hosts -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes"
ssh="$ssh -o ConnectTimeout=10 -o ServerAliveInterval=10 -o ServerAliveCountMax=3 -o LogLevel=ERROR"
# Devices are nobody's data. What is deleted goes last, after all that is new has arrived. A name in a tree that
# begins with ours is a server's own, but for the token that arrives. Times are compared to the nanosecond: to the
# second, a file that was written again within the second of its copy, at the same size, would never be copied again.
set -- -rlptgoHAX --specials --numeric-ids --modify-window=-1 --delete-delay --max-delete="$deletions" \
    --partial-dir=.packmaster-partial \
    --filter='R .packmaster-partial/' --filter='H .packmaster-partial/' \
    --timeout=120 --stats --no-human-readable
case $mode in
    copy) set -- "$@" --include=/.packmaster-sequence.next ;;
    *) set -- "$@" --dry-run --out-format='%i %n' ;;
esac
# Spare copies and pruned releases (tasks/code/tidy.py) are each server's own. A node sees to them some seconds after a
# switch, and rsync 3.2.7 hangs with -H when a directory of hard links gets another name while it is copied.
if [ "$module" = code ]; then
    for name in making spare trash; do
        set -- "$@" --exclude="/*/releases/.$name-[0-9]*" --exclude="/*/manifests/.$name-[0-9]*"
    done
fi
set -- "$@" --exclude='/.packmaster-*'
exec flock -x -n -E 75 "/run/packmaster/copy-$share.lock" \
    rsync "$@" -e "$ssh" "$path/" "$host::$module/"
