# enable_unit.sh UNIT: it starts at boot, when systemd reads its file.
systemctl --no-reload --quiet enable "$1" 2>&1
