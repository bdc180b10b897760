# read_token.sh NAME TEXT OWNER DIRECTORY...: in each there is a file of that name and text, of the owner `uid:gid`.
name=$1 text=$2 owner=$3
shift 3
cd /
for directory in "$@"; do
    [ "$(cat "$directory/$name")" = "$text" ] || { echo "$directory/$name has another text" >&2; exit 1; }
    seen=$(stat -c %u:%g "$directory/$name")
    if [ "$seen" != "$owner" ]; then
        echo "$directory/$name belongs to $seen here, and was written by $owner" >&2
        exit 1
    fi
done
