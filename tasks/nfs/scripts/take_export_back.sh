# take_export_back.sh PATH CLIENT: it is not exported to that client; nothing else in the table changes.
case $2 in *:*) client="[$2]" ;; *) client=$2 ;; esac
case $2 in *:*/*) client="[${2%/*}]/${2##*/}" ;; esac
exportfs -u "$client:$1" 2>&1 | { grep -v 'Could not find' >&2 || :; }
exportfs -f
