# write_file.sh PATH MODE GUARD <CONTENT: root's file is this, and GUARD (a service, `sudoers`, or nothing)
# accepts it; else the file is as it was.
path=$1 mode=$2 guard=$3
new=$(mktemp "$path.packmaster.XXXXXX")
last=''
trap 'rm -f "$new" ${last:+"$last"}' EXIT
cat >"$new"
chown root:root "$new"
chmod "$mode" "$new"
case $guard in
    sudoers) visudo -q -c -f "$new" >&2 ;;
    nginx) nginx -t -q -c "$new" ;;
esac
# A power cut leaves the old file or the new one, and none that is empty.
sync "$new"
case $guard in
    '' | sudoers)
        mv -f "$new" "$path"
        exit 0
        ;;
esac
mark_reload "$guard"
if [ -e "$path" ]; then
    last=$(mktemp "$path.packmaster.XXXXXX")
    cp -p "$path" "$last"
fi
mv -f "$new" "$path"
if ! said=$(test_service "$guard"); then
    if [ -n "$last" ]; then mv -f "$last" "$path"; else rm -f "$path"; fi
    printf '%s\n' "$said" >&2
    exit 1
fi
