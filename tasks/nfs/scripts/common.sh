# Put before the other scripts. Mount tables are read; nothing on a mount is touched without a bound.

# SCRIPT POINT...: runs the script for each directory that lies beneath a mount there, as its $1. In a mount namespace
# of its own the parents are put over themselves without what is mounted inside; nothing outside changes.
beneath() {
    unshare -m sh -euc '
        script=$1 shown=""
        shift
        for point in "$@"; do
            parent=${point%/*}
            [ -d "$parent" ] || continue
            case $shown in *"|$parent|"*) ;; *) mount --bind "$parent" "$parent" ;; esac
            shown="$shown|$parent|"
            set -- "$point"
            eval "$script"
        done' beneath "$@"
}

# The kernel's NFS client asks for no delegation of a directory (see tasks/nfs/units.py, which does it at boot).
want_no_delegations() {
    modprobe nfsv4 2>/dev/null || :
    asks=/sys/module/nfsv4/parameters/directory_delegations
    [ ! -e "$asks" ] || echo N >"$asks"
}

# mount_with COMMAND KIND SOURCE POINT OPTIONS: it is mounted there by that command, within $seconds.
mount_with() {
    case $2 in
        # shellcheck disable=SC2086 # the command may be several words
        bind) timeout -k 2 "$seconds" $1 --bind "$3" "$4" ;;
        *)
            want_no_delegations
            # shellcheck disable=SC2086
            timeout -k 2 "$seconds" $1 -t nfs -o "$5" "$3" "$4"
            ;;
    esac
}
