# change_ids.sh USER GROUP OLD_UID UID OLD_GID GID ROOT...: the account has these ids, and so have its files below
# the roots, on this machine's own disks. The account is changed last: a run that was killed finds it again.
user=$1 group=$2 old_uid=$3 uid=$4 old_gid=$5 gid=$6
shift 6
stopped=''
trap 'for unit in $stopped; do systemctl start "$unit"; done' EXIT
if [ "$user" = www-data ]; then
    for unit in $(systemctl list-units --type=service --state=running --plain --no-legend 2>/dev/null | cut -d ' ' -f 1); do
        case $unit in
            apache2.service | nginx.service | php*-fpm.service)
                stopped="$stopped $unit"
                systemctl stop "$unit"
                ;;
        esac
    done
fi
running() {
    for entry in /proc/[0-9]*; do
        [ "$(stat -c %u "$entry" 2>/dev/null)" != "$old_uid" ] || printf '%s(%s) ' "${entry#/proc/}" "$(cat "$entry/comm" 2>/dev/null)"
    done
}
tries=0
while who=$(running) && [ -n "$who" ]; do
    tries=$((tries + 1))
    if [ "$tries" -ge 20 ]; then
        echo "processes of $user run: $who- end them, then run this again" >&2
        exit 1
    fi
    sleep 1
done
# The mounts on or below a directory that are local disks; the directory itself comes first, if it is on one.
own_disks() {
    awk -v root="$1" '
        { for (i = 7; $i != "-"; i++); type[$5] = $(i + 1) }
        function own(t) { return t !~ /^(nfs|cifs|smb|autofs|fuse|9p|ceph|gluster|proc|sysfs|devpts|cgroup)/ }
        END {
            best = "/"
            for (point in type) if (index(root "/", (point == "/" ? "" : point) "/") == 1 && length(point) > length(best)) best = point
            if (own(type[best])) print root
            for (point in type) if (index(point, root "/") == 1 && own(type[point])) print point
        }' /proc/self/mountinfo
}
for root in "$@"; do
    [ -d "$root" ] || continue
    own_disks "$root" | while read -r tree; do
        [ "$old_uid" = "$uid" ] || find "$tree" -xdev -uid "$old_uid" -exec chown -h "$uid" {} +
        [ "$old_gid" = "$gid" ] || find "$tree" -xdev -gid "$old_gid" -exec chgrp -h "$gid" {} +
    done
done
[ "$(getent group "$group" | cut -d : -f 3)" = "$gid" ] || groupmod -g "$gid" "$group"
if [ "$(id -u "$user")" != "$uid" ]; then
    # usermod walks through the home by itself, over every mount in it: so it gets to see none.
    home=$(getent passwd "$user" | cut -d : -f 6)
    if [ -d "$home" ]; then
        unshare -m sh -euc 'mount --bind "$1" "$1"; usermod -u "$2" "$3"' usermod "$home" "$uid" "$user"
    else
        usermod -u "$uid" "$user"
    fi
fi
