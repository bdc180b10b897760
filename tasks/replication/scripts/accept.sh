# accept.sh DISK ARRIVED TEXT DIRECTORY...: what arrived in each directory is on the disk, with the token ARRIVED; it
# gets the token TEXT for it. All or none, as far as a power cut allows: the older one of two tokens counts.
disk=$1 arrived=$2 text=$3
shift 3
[ -z "$disk" ] || [ "$(mode_of "$disk")" = rw ] || { echo "$disk is not mounted, or read-only" >&2; exit 1; }
for directory in "$@"; do
    if [ "$(cat "$directory/.packmaster-sequence.next")" != "$arrived" ]; then
        echo "$directory has not got the token of this copy: it was made somewhere else" >&2
        exit 1
    fi
    sync -f "$directory"
done
umask 077
for directory in "$@"; do
    printf '%s\n' "$text" >"$directory/.packmaster-sequence.new"
    sync "$directory/.packmaster-sequence.new"
    mv -f "$directory/.packmaster-sequence.new" "$directory/.packmaster-sequence"
    rm -f "$directory/.packmaster-sequence.next"
    sync "$directory"
done
