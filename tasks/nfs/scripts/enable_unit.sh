# enable_unit.sh UNIT: systemd knows its file as it is now, and starts it at boot.
systemctl daemon-reload
systemctl enable --quiet "$1" 2>&1
