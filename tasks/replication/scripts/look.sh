# look.sh SHARE DISK CODE DATA LOGIN FILE...: what this server is for a copy of the share, `word<TAB>value...` a line.
share=$1 disk=$2 code=$3 data=$4 login=$5
shift 5
record=/var/lib/packmaster/shares/$share
[ ! -f "$record" ] || say record "$(encode <"$record")"
[ -z "$disk" ] || say disk "$(mode_of "$disk")"
! command -v rsync >/dev/null || say rsync yes
[ ! -r /var/lib/nfs/etab ] || say table "$(encode </var/lib/nfs/etab)"
for path in "$code" "$data"; do
    kind="other"
    if [ -L "$path" ]; then kind="link"; elif [ -d "$path" ]; then kind="directory"; elif [ ! -e "$path" ]; then continue; fi
    # Up to the first name that is not ours, however many there are.
    empty=yes
    [ "$kind" != directory ] || [ -z "$(find "$path" -mindepth 1 -maxdepth 1 ! -name '.packmaster-*' -print -quit)" ] || empty=no
    say tree "$path" "$kind" "$empty" "$(stat -f -c "%S$tab%b$tab%a$tab%c$tab%d" "$path")"
    [ ! -f "$path/.packmaster-sequence" ] || say token "$path" "$(encode <"$path/.packmaster-sequence")"
done
key=/var/lib/packmaster/sync/$share/id_ed25519.pub
[ ! -f "$key" ] || say key "$(head -n 1 "$key" | cut -d ' ' -f 1,2)"
keys=$(keys_of "$login")
[ ! -f "$keys" ] || grep -E " packmaster-sync-$share\$" "$keys" | while read -r line; do say door "$line"; done
for file in "$@"; do
    [ ! -f "$file" ] || say file "$file" "$(sha256sum <"$file" | cut -c 1-64)"
done
