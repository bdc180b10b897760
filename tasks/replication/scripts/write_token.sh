# write_token.sh DISK TEXT DIRECTORY...: each directory has the token, and what is to be sent of it; on the disk.
disk=$1 text=$2
shift 2
[ -z "$disk" ] || [ "$(mode_of "$disk")" = rw ] || { echo "$disk is not mounted, or read-only" >&2; exit 1; }
umask 077
for directory in "$@"; do
    for name in .packmaster-sequence .packmaster-sequence.next; do
        printf '%s\n' "$text" >"$directory/$name.new"
        sync "$directory/$name.new"
        mv -f "$directory/$name.new" "$directory/$name"
    done
done
