# resume.sh SECONDS: what drain.sh stopped runs again, and nothing is noted any more.
[ -e "$note" ] || exit 0
while read -r name; do
    control start "$name" "$1" || :
    ends=$(($(date +%s) + $1))
    until is_running "$name"; do
        if [ "$(date +%s)" -ge "$ends" ]; then
            echo "$name does not start" >&2
            exit 1
        fi
        sleep 0.2
    done
    echo "$name"
done <"$note"
rm -f "$note"
