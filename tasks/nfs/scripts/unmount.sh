# unmount.sh POINT SECONDS: nothing is mounted there; whoever holds it busy is named, and it stays as it is.
while is_mounted "$1"; do
    let_go "$1" "$2" || {
        tell_holders "$1" >&2
        exit 1
    }
done
