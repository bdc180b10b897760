# set_door.sh SHARE LOGIN <LINES: these are the lines of LOGIN's authorized_keys for the share; others stay as they
# are.
share=$1 login=$2
keys=$(keys_of "$login")
folder=${keys%/*}
[ -d "$folder" ] || install -d -m 0700 -o "$login" -g "$(id -g "$login")" "$folder"
new=$(mktemp "$keys.packmaster.XXXXXX")
trap 'rm -f "$new"' EXIT
[ ! -f "$keys" ] || grep -vE " packmaster-sync-$share\$" "$keys" >"$new" || :
# A last line without its end would swallow ours.
[ ! -s "$new" ] || [ -z "$(tail -c 1 "$new")" ] || echo >>"$new"
cat >>"$new"
if [ -f "$keys" ]; then
    chmod --reference="$keys" "$new"
    chown --reference="$keys" "$new"
else
    chown "$login:$(id -g "$login")" "$new"
fi
mv -f "$new" "$keys"
