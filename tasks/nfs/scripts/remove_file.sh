# remove_file.sh PATH: it is not there; what is there and is no file stays.
[ ! -f "$1" ] || rm -f "$1"
