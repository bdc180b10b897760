# read_file.sh PATH
cat "$1"
