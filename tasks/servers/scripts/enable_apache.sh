# enable_apache.sh mod|conf NAME...: they are enabled and apache accepts that; else those that were not still are not.
what=$1
shift
added=''
for name in "$@"; do
    a2query "-$(printf %.1s "$what")" "$name" >/dev/null 2>&1 || added="$added $name"
done
[ -n "$added" ] || exit 0
mark_reload apache2
# shellcheck disable=SC2086 # names of modules have no spaces
"a2en$what" -q $added >/dev/null
if ! said=$(test_service apache2); then
    # shellcheck disable=SC2086
    "a2dis$what" -q -f $added >/dev/null
    printf '%s\n' "$said" >&2
    exit 1
fi
