# facts.sh UIDS GIDS PACKAGES PATHS POINTS UNITS: prints what is, one `key<TAB>value...` a line. Lists are words.
uids=$1 gids=$2 packages=$3 paths=$4 points=$5 units=$6

(
    ID='' ID_LIKE='' PRETTY_NAME=''
    [ ! -r /etc/os-release ] || . /etc/os-release
    say system "$PRETTY_NAME" "$ID $ID_LIKE"
)
command -v dpkg-query >/dev/null || exit 0
[ ! -d /run/systemd/system ] || say systemd yes
! grep -qs '^# packmaster:' /usr/sbin/policy-rc.d || say stray_policy yes

# shellcheck disable=SC2086 # a list of words
say_packages $packages

for name in aegir www-data; do
    entry=$(getent passwd "$name") && say user "$entry"
    entry=$(getent group "$name") && say group "$entry"
done
for number in $uids; do entry=$(getent passwd "$number") && say holder "uid $number" "${entry%%:*}"; done
for number in $gids; do entry=$(getent group "$number") && say holder "gid $number" "${entry%%:*}"; done

say mountinfo "$(encode </proc/self/mountinfo)"
[ ! -r /etc/fstab ] || say fstab "$(encode </etc/fstab)"

# shellcheck disable=SC2086 # a list of words
say_paths $paths

# shellcheck disable=SC2086 # a list of words
[ -z "$points" ] || beneath '
    if [ -L "$1" ]; then kind=link; elif [ -d "$1" ]; then kind=directory; elif [ -e "$1" ]; then kind=other; else continue; fi
    printf "beneath\t%s\t%s\t%s\t" "$1" "$kind" "$(stat -c "%U:%G:%a" "$1")"
    [ "$kind" != directory ] || ls -A "$1" | head -n 4 | base64 -w 0
    echo' $points

for unit in $units; do
    enabled=no running=no
    state=$(systemctl show --property=UnitFileState --property=ActiveState "$unit" 2>/dev/null)
    case $state in *UnitFileState=enabled*) enabled=yes ;; esac
    if [ "$unit" = nfs-server.service ]; then
        # mountd tells the kernel what is exported to whom: without it nobody gets in.
        threads=$(cat /proc/fs/nfsd/threads 2>/dev/null || echo 0)
        [ "$threads" -eq 0 ] || ! systemctl is-active --quiet nfs-mountd.service || running=yes
    else
        case $state in *ActiveState=active*) running=yes ;; esac
    fi
    say unit "$unit" "$enabled" "$running"
done

for file in /etc/exports /etc/exports.d/*.exports; do
    [ ! -f "$file" ] || say exports "$file" "$(encode <"$file")"
done
[ ! -r /var/lib/nfs/etab ] || say table "$(encode </var/lib/nfs/etab)"
[ ! -r /proc/fs/nfsd/exports ] || say kernel "$(encode </proc/fs/nfsd/exports)"
[ "$(cat /proc/sys/fs/leases-enable 2>/dev/null)" != 1 ] || say leases yes
[ ! -r /proc/fs/nfsd/versions ] || say versions "$(cat /proc/fs/nfsd/versions)"

# One question at a time to a mount: while the last one can neither be answered nor killed, the answer is `hung`,
# and none is asked. One that was only killed too early, or not woken when its server came back, is in nobody's way.
state=/run/packmaster
mkdir -p "$state"
asks() { [ -n "$1" ] && grep -qs packmaster-none "/proc/$1/cmdline"; }
for point in $points; do
    awk -v point="$point" '$5 == point { for (i = 7; $i != "-"; i++); type = $(i + 1) } END { exit type !~ /^nfs/ }' \
        /proc/self/mountinfo || continue
    mark=$state/answer$(printf '%s' "$point" | tr / -)
    last=$(cat "$mark.pid" 2>/dev/null || :)
    if asks "$last"; then
        kill -9 "$last" 2>/dev/null || :
        sleep 0.2
        ! asks "$last" || { say answer "$point" hung; continue; }
    fi
    : >"$mark"
    # A name that is in no cache can only be answered by the server; the answer is that there is none.
    setsid sh -c 'echo $$ >"$2.pid"; exec stat "$1/.packmaster-none-$$" 2>"$2"' ask "$point" "$mark" \
        </dev/null >/dev/null 2>&1 &
    # stat(1) writes what it says in pieces: only a line with an end is an answer.
    tries=0
    until read -r said <"$mark"; do
        said=
        tries=$((tries + 1))
        [ "$tries" -lt 30 ] || break
        sleep 0.1
    done
    case $said in
        '') say answer "$point" hung; kill -9 "$(cat "$mark.pid")" 2>/dev/null || : ;;
        *'No such file'*) say answer "$point" ok ;;
        *) say answer "$point" "${said##*: }" ;;
    esac
done
