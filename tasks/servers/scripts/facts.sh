# facts.sh WEB_SERVICE PORT UID GID PACKAGES PATH...: prints what is, one `key<TAB>value...` a line.
web=$1 port=$2 uid=$3 gid=$4 packages=$5
shift 5
(
    ID='' ID_LIKE='' PRETTY_NAME=''
    [ ! -r /etc/os-release ] || . /etc/os-release
    say system "$PRETTY_NAME" "$ID $ID_LIKE"
)
# Without dpkg there is nothing more to ask in words that the rest would understand.
command -v dpkg-query >/dev/null || exit 0

# shellcheck disable=SC2086 # a list of words
say_packages $packages
php=$(php_version)
[ -z "$php" ] || say php "$php"

if entry=$(getent passwd aegir); then
    say user "$entry" "$(id -Gn aegir | tr ' ' ',')"
fi
entry=$(getent group aegir) && say group "$entry"
entry=$(getent passwd "$uid") && say uid_holder "${entry%%:*}"
entry=$(getent group "$gid") && say gid_holder "${entry%%:*}"
getent group www-data >/dev/null && say web_group www-data

for path in "$@"; do
    shift
    case $path in *@PHP@*)
        [ -n "$php" ] || continue
        path=${path%%@PHP@*}$php${path#*@PHP@}
        ;;
    esac
    set -- "$@" "$path"
done
say_paths "$@"

for module in /etc/apache2/mods-enabled/*.load; do
    [ ! -e "$module" ] || { module=${module##*/} && say module "${module%.load}"; }
done
[ ! -r /etc/nginx/nginx.conf ] || say nginx_conf "$(encode </etc/nginx/nginx.conf)"
[ ! -r /var/aegir/.ssh/authorized_keys ] || say keys "$(encode </var/aegir/.ssh/authorized_keys)"

for service in "$web" ${php:+"php$php-fpm"}; do
    [ -x "/etc/init.d/$service" ] || [ -e "/lib/systemd/system/$service.service" ] || continue
    enabled=no running=no waiting=no error=''
    if has_systemd; then
        systemctl is-enabled --quiet "$service" && enabled=yes
    else
        for link in /etc/rc2.d/S[0-9][0-9]"$service"; do [ ! -e "$link" ] || enabled=yes; done
    fi
    is_running "$service" && running=yes
    [ ! -e "$pending/reload-$service" ] || waiting=yes
    said=$(test_service "$service") || error=$(printf '%s' "$said" | tail -n 5 | encode)
    say service "$service" "$enabled" "$running" "$waiting" "$error"
done

# Who listens: the sockets in state LISTEN (0A) on the port, then the processes that hold them open.
suffix=$(printf ':%04X' "$port")
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
    awk -v suffix="$suffix" '$4 == "0A" && substr($2, length($2) - 4) == suffix { print $10 }' | sort -u |
    while read -r inode; do
        find /proc/[0-9]*/fd -lname "socket:\[$inode\]" 2>/dev/null |
            while IFS=/ read -r _ _ process _; do cat "/proc/$process/comm" 2>/dev/null || :; done
    done | sort -u |
    while read -r name; do say listener "$name"; done

! policy_is_ours || say stray_policy "$policy"
