# save_aside.sh TREE FOLDER <NAMES: what the names in TREE stand for (they end with NUL) is in FOLDER, too, as links
# where it is a file: no data is copied, and what replaces a file in the tree leaves what was saved alone.
tree=$1 folder=$2
(umask 077; mkdir -p "$folder")
rsync -lptgoHAXd --specials --numeric-ids --from0 --files-from=- --link-dest="$tree/" "$tree/" "$folder/"
sync -f "$folder"
