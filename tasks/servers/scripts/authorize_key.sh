# authorize_key.sh "TYPE BASE64" FILE: run as the account itself, whose other keys stay.
file=$2
umask 077
touch "$file"
chmod 0600 "$file"
if ! grep -qF -- "$1" "$file"; then
    # A last line without its end would swallow ours.
    [ ! -s "$file" ] || [ -z "$(tail -c 1 "$file")" ] || echo >>"$file"
    printf '%s packmaster\n' "$1" >>"$file"
fi
