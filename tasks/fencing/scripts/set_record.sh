# set_record.sh SHARE EPOCH ROLE PEER: it is recorded, unless that goes back: to a lower epoch, or, within one, from
# what serves or was put out of action to what may still take over.
share=$1 epoch=$2 role=$3 peer=$4
was=$(field "$share" epoch) now=$(field "$share" role)
rank() { case $1 in standby) echo 1 ;; taking-over) echo 2 ;; primary) echo 3 ;; *) echo 0 ;; esac; }
if [ "${was:-0}" -gt "$epoch" ] || { [ "${was:-0}" -eq "$epoch" ] && [ "$(rank "$now")" -gt "$(rank "$role")" ] && [ "$role" != fenced ]; }; then
    echo "this server is $now of epoch $was already: somebody else has been here, look again" >&2
    exit 1
fi
record "$share" "$epoch" "$role" "$peer"
