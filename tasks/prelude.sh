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

