# write_tokens.sh TEXT DIRECTORY...: each says so, for whoever mounts it to compare.
text=$1
shift
for directory in "$@"; do
    printf '%s\n' "$text" >"$directory/.packmaster-token.new"
    chmod 0644 "$directory/.packmaster-token.new"
    sync "$directory/.packmaster-token.new"
    mv -f "$directory/.packmaster-token.new" "$directory/.packmaster-token"
done
