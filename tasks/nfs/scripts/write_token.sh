# write_token.sh NAME TEXT DIRECTORY...: a file of that name and text is in each, and on the server's disk. Leftovers
# of a run that was killed go first.
name=$1 text=$2
shift 2
cd /
for directory in "$@"; do
    rm -f "$directory/${name%.*}".*
    printf '%s\n' "$text" | dd of="$directory/$name" conv=fsync status=none
    [ "$(cat "$directory/$name")" = "$text" ] || { echo "$directory/$name reads otherwise" >&2; exit 1; }
done
