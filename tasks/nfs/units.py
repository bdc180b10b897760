"""What mounts a pack's share at boot, again and again until it is there. Pure text.

A mount of fstab is tried once when the machine boots; with its server off, it stays away for ever. An
automount would try when somebody looks, and every one who looks meanwhile would hang with it; after five
quick failures systemd gives an automount up for good. So a unit of our own goes on trying, and ends when all
is mounted.
"""

from __future__ import annotations

from tasks.nfs.fstab import FSTAB
from tasks.nfs.mounts import MARK, MOUNT_SECONDS
from tasks.nfs.state import MOUNTS_SCRIPT, MOUNTS_UNIT_FILE
from tasks.servers.steps import WriteFile

_HEAD = "# Written by Packmaster (flow provision-pack): changes made here are undone by its next run."
_SECONDS_BETWEEN = 5
# Since Linux 6.19 a client that looks at a directory asks for a delegation of it, too. A root that is nobody
# on the share may be denied that, and its look with it: stat and mount -o remount fail now and then.
_DELEGATIONS = "/sys/module/nfsv4/parameters/directory_delegations"

# The mount table is read and nothing in it is touched: a look at a mount whose server is gone would hang.
# NFS is mounted without systemd, for which a machine has not booted while it has a job to do; a directory
# of the machine's own is left to systemd, which waits for the disk it lies on.
_SCRIPT = f"""#!/bin/sh
{_HEAD}
# Every line of {FSTAB} that is marked {MARK} gets mounted; this ends when they all are.
modprobe nfsv4 2>/dev/null
[ ! -e {_DELEGATIONS} ] || echo N >{_DELEGATIONS}
until
    missing=''
    for line in $(awk '$1 !~ /^#/ && $4 ~ /(^|,){MARK}=/ {{ print $3 ":" $2 }}' {FSTAB}); do
        point=${{line#*:}}
        awk -v point="$point" '$5 == point {{ exit 1 }}' /proc/self/mountinfo || continue
        case $line in
            nfs:*) timeout -k 5 {2 * MOUNT_SECONDS} mount "$point" ;;
            *) systemctl start "$(systemd-escape --path --suffix=mount "$point")" ;;
        esac 2>/dev/null || missing="$missing $point"
    done
    [ -z "$missing" ]
do
    sleep {_SECONDS_BETWEEN}
done
"""

_UNIT = f"""{_HEAD}
[Unit]
Description=Mount what Packmaster's packs share, as soon as the server is there
Wants=network-online.target
After=network-online.target remote-fs.target

[Service]
Type=exec
ExecStart={MOUNTS_SCRIPT}
Restart=on-failure
RestartSec={_SECONDS_BETWEEN}

[Install]
WantedBy=multi-user.target
"""

MOUNT_FILES = (WriteFile(MOUNTS_SCRIPT, _SCRIPT, 0o755), WriteFile(MOUNTS_UNIT_FILE, _UNIT, 0o644))
