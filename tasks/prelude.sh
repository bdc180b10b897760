# Put before every script that is kept in a file. Answers are lines of words with tabs between them.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd /
tab=$(printf '\t')

say() {
    printf '%s' "$1"
    shift
    printf '\t%s' "$@"
    printf '\n'
}
encode() { base64 | tr -d '\n'; }

# Everything is asked at once: to start a process takes a small machine longer than any of the answers.
# PACKAGE...: those that are installed.
say_packages() {
    [ $# -gt 0 ] || return 0
    dpkg-query -W -f '${db:Status-Abbrev}\t${Package}\n' "$@" 2>/dev/null |
        while IFS=$tab read -r state name; do
            case $state in ?i\ *) say package "$name" ;; esac
        done
}
# PATH...: what is there, whose (a number where it has no name), and how it reads; nothing of one that does
# not exist.
say_paths() {
    [ $# -gt 0 ] || return 0
    format=%F$tab%U$tab%u$tab%G$tab%g$tab%a$tab%n
    # Since Linux 6.19 the first look at a directory on NFS asks for a delegation, too, which a root that is
    # nobody there may be denied, and stat with it. The second one does not ask.
    found=$(stat -c "$format" "$@" 2>/dev/null) || found=$(stat -c "$format" "$@" 2>/dev/null) || :
    printf '%s\n' "$found" |
        while IFS=$tab read -r type owner uid group gid mode path; do
            [ -n "$path" ] || continue
            [ "$owner" != UNKNOWN ] || owner=$uid
            [ "$group" != UNKNOWN ] || group=$gid
            digest=''
            case $type in
                'symbolic link') kind=link digest=$(readlink "$path") ;;
                directory) kind=directory ;;
                regular*) kind=file digest=$(sha256sum <"$path") digest=${digest%% *} ;;
                *) kind=other ;;
            esac
            say path "$path" "$kind" "$owner$tab$group$tab$mode" "$digest"
        done
}

is_mounted() { awk -v point="$1" '$5 == point { found = 1 } END { exit !found }' /proc/self/mountinfo; }

# POINT SECONDS: what was mounted there last is not any more; else $said tells why. Who opens files again and again
# holds a mount at most moments and lets it go for a tenth of a second in between: tries come closer together than
# that, and go on for about five seconds. One umount(8) may take SECONDS; one that takes longer counts for twenty.
let_go() {
    tries=0
    while is_mounted "$1"; do
        status=0
        said=$(timeout -k 2 "$2" umount -c "$1" 2>&1 </dev/null) || status=$?
        case $status in
            0) return 0 ;;
            124 | 137) tries=$((tries + 20)) ;;
            *) tries=$((tries + 1)) ;;
        esac
        [ "$tries" -lt 60 ] || return 1
        sleep 0.05
    done
}
# POINT: who has something of it open, or stands in it: links of /proc, which can be read while the mount hangs.
# One process reads them all: a small machine would need seconds to start one for each.
name_holders() {
    find /proc/[0-9]*/cwd /proc/[0-9]*/root /proc/[0-9]*/exe /proc/[0-9]*/fd -maxdepth 1 \
        \( -lname "$1" -o -lname "$1/*" \) 2>/dev/null | cut -d / -f 3 | sort -u | while read -r process; do
        printf '%s(%s) ' "$process" "$(cat "/proc/$process/comm" 2>/dev/null)"
    done
}
# POINT: why let_go failed, and who holds the mount.
tell_holders() {
    holders=$(name_holders "$1")
    holders=${holders% }
    printf '%s; held by %s' "$said" "${holders:-something that opens files again and again}"
}
