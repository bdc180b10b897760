# take_export_back.sh PATH CLIENT: it is not exported to that client; nothing else in the table changes.
case $2 in *:*) client="[$2]" ;; *) client=$2 ;; esac
case $2 in *:*/*) client="[${2%/*}]/${2##*/}" ;; esac
said=$(exportfs -u "$client:$1" 2>&1) || case $said in
    *'Could not find'*) ;;
    *)
        printf '%s\n' "$said" >&2
        exit 1
        ;;
esac
exportfs -f
# It also ends well when it could not write the table, from which mountd answers.
if cut -d "(" -f 1 /var/lib/nfs/etab 2>/dev/null | grep -qxF "$(printf '%s\t%s' "$1" "$2")"; then
    printf '%s is still exported to %s. %s\n' "$1" "$2" "$said" >&2
    exit 1
fi
