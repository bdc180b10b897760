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

# PATH: what is there, whose, and how it reads; nothing when nothing is there.
say_path() {
    digest=''
    if [ -L "$1" ]; then
        kind=link digest=$(readlink "$1")
    elif [ -d "$1" ]; then
        kind=directory
    elif [ -f "$1" ]; then
        kind=file digest=$(sha256sum <"$1") digest=${digest%% *}
    elif [ -e "$1" ]; then
        kind=other
    else
        return 0
    fi
    say path "$1" "$kind" "$(stat -c "%U$tab%G$tab%a" "$1")" "$digest"
}

