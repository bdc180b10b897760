# remove_token.sh NAME DIRECTORY...: none of them has it.
name=$1
shift
for directory in "$@"; do rm -f "$directory/$name"; done
