# Put before the other scripts. Mount tables are read; nothing on a mount is touched without a bound.
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

is_mounted() { awk -v point="$1" '$5 == point { found = 1 } END { exit !found }' /proc/self/mountinfo; }

# The directory beneath whatever is mounted on $1: in a mount namespace of its own, its parent is put over itself
# without what is mounted inside. `sh -c SCRIPT` runs there with the same arguments; nothing outside changes.
beneath() {
    point=$1 command=$2
    unshare -m sh -euc 'mount --bind "${1%/*}" "${1%/*}"; eval "$2"' beneath "$point" "$command"
}
