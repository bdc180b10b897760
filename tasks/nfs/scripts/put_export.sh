# put_export.sh PATH CLIENT OPTIONS: it is exported like this. Nothing else in the table changes: -i reads no file.
case $2 in *:*) client="[$2]" ;; *) client=$2 ;; esac
case $2 in *:*/*) client="[${2%/*}]/${2##*/}" ;; esac
said=$(exportfs -i -o "$3" "$client:$1" 2>&1) || {
    printf '%s\n' "$said" >&2
    exit 1
}
[ -z "$said" ] || printf '%s\n' "$said"
# What the kernel was told before is forgotten; it asks anew.
exportfs -f
