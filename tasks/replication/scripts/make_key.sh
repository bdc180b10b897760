# make_key.sh SHARE: there is a key pair to copy the share with; prints its public half.
folder=/var/lib/packmaster/sync/$1 key=/var/lib/packmaster/sync/$1/id_ed25519
(umask 077; mkdir -p "$folder")
if [ ! -s "$key" ] || [ ! -s "$key.pub" ]; then
    rm -f "$key.new" "$key.new.pub"
    ssh-keygen -q -t ed25519 -N '' -C "packmaster-sync-$1" -f "$key.new"
    mv -f "$key.new.pub" "$key.pub"
    mv -f "$key.new" "$key"
fi
ssh-keygen -y -f "$key" | cut -d ' ' -f 1,2 >"$key.pub.new"
mv -f "$key.pub.new" "$key.pub"
cat "$key.pub"
