# withdraw.sh SHARE EPOCH: what was about to take over under EPOCH, and exported nothing, is a standby of the epoch
# before again.
[ "$(field "$1" role)" = taking-over ] && [ "$(field "$1" epoch)" = "$2" ] || exit 0
record "$1" "$(($2 - 1))" standby "$(field "$1" peer)"
