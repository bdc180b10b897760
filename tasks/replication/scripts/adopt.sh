# adopt.sh TEXT DIRECTORY...: each directory that has no token gets this one, provided that it is empty.
text=$1
shift
umask 077
for directory in "$@"; do
    [ ! -f "$directory/.packmaster-sequence" ] || continue
    if [ -n "$(find "$directory" -mindepth 1 -maxdepth 1 ! -name '.packmaster-*' -print -quit)" ]; then
        echo "$directory is not empty any more" >&2
        exit 1
    fi
    printf '%s\n' "$text" >"$directory/.packmaster-sequence.new"
    mv -f "$directory/.packmaster-sequence.new" "$directory/.packmaster-sequence"
done
