# enable_service.sh SERVICE: it starts when the server boots.
if has_systemd; then
    systemctl enable --quiet "$1"
else
    update-rc.d "$1" defaults >/dev/null
    update-rc.d "$1" enable >/dev/null
fi
