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
encode() { base64 -w 0; }

