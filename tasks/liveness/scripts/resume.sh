# resume.sh SECONDS: what drain.sh stopped runs again, and nothing is noted any more. Each of its names is printed, and
# first for how many seconds it was stopped.
[ -e "$note" ] || exit 0
stopped=$(stat -c %.1Y "$note")
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
    started="${started:-} $name"
done <"$note"
awk -v from="$stopped" -v to="$(date +%s.%N)" -v names="${started:-}" 'BEGIN { printf "%.1f%s\n", to - from, names }'
rm -f "$note"
