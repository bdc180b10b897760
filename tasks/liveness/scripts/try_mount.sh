# try_mount.sh KIND SOURCE OPTIONS SECONDS: it can be mounted here. In a mount namespace of its own, which ends with
# the process: a server that lets nobody in costs nobody what is mounted.
kind=$1 source=$2 options=$3 seconds=$4
case $kind in
    bind) set -- --bind ;;
    *) set -- -t nfs -o "$options" ;;
esac
mkdir -p "${note%/*}"
timeout -k 2 "$seconds" unshare -m mount -n "$@" "$source" "${note%/*}" </dev/null
