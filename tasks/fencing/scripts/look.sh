# look.sh SHARE DISK CODE FILE...: what this server is for the share, and does, `word<TAB>value...` a line.
share=$1 disk=$2 code=$3
shift 3
[ ! -f "$records/$share" ] || say record "$(encode <"$records/$share")"
say threads "$(threads)"
[ ! -r /var/lib/nfs/etab ] || say table "$(encode </var/lib/nfs/etab)"
[ ! -r /proc/fs/nfsd/exports ] || say kernel "$(encode </proc/fs/nfsd/exports)"
[ ! -f "/etc/exports.d/packmaster-$share.exports" ] || say listed yes
[ -z "$disk" ] || say disk "$(awk -v point="$disk" '$5 == point { split($6, o, ","); m = o[1] } END { print m }' /proc/self/mountinfo)"
[ ! -f "$code/.packmaster-token" ] || say token "$(head -n 1 "$code/.packmaster-token")"
for file in "$@"; do
    [ ! -f "$file" ] || say file "$file" "$(sha256sum <"$file" | cut -c 1-64)"
done
! systemctl is-active --quiet packmaster-epoch.socket || say answers yes
