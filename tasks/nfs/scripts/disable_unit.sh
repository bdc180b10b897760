# disable_unit.sh UNIT: it does not run, and does not start at boot.
systemctl disable --quiet --now "$1" 2>&1
