# arm.sh: systemd knows the gate, and it answers whoever asks.
systemctl daemon-reload
systemctl enable --quiet packmaster-epoch.socket
systemctl restart packmaster-epoch.socket
systemctl restart packmaster-watch.service
