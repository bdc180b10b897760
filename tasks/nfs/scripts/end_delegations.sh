# end_delegations.sh FILE: its content is the standard input, sysctl.d(5); what it says is so now, too.
cat >"$1.new"
chmod 0644 "$1.new"
mv "$1.new" "$1"
echo 0 >/proc/sys/fs/leases-enable
