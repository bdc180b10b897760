"""How one server of a share may copy to the other, and what it can do there: nothing else. Pure texts.

The source makes a key pair of its own. Whoever logs in with it on the destination gets one program, whatever
was asked for: rsync as a daemon on the connection's own input, shut in one of the share's two directories, to
write and not to read (rsync(1), "using rsync-daemon features via a remote-shell connection"). What decides
whether anything may be written is looked at there, at that moment: no mistake of the controller's, and no key
that was forgotten, can write to a server that serves.
"""

from __future__ import annotations

import hashlib

from tasks.fleet import Machine, Share
from tasks.servers.steps import WriteFile

KEYS = "/var/lib/packmaster/sync"
RECEIVER = "/usr/local/sbin/packmaster-receive"
MODULES = ("code", "data")
_HEAD = "# Written by Packmaster (flow sync-standby): changes made here are undone by its next run."

_RECEIVER = rf"""#!/bin/sh
{_HEAD}
# packmaster-receive SHARE: takes in what the share's server sends, while this machine is its standby.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
case $1 in *[!a-z0-9-]*) echo "packmaster-receive: not the name of a share" >&2; exit 64 ;; esac
. "{KEYS}/$1/receive"
refuse() {{
    echo "packmaster-receive: $(hostname) takes nothing in for share $share: $1" >&2
    exit 75
}}
role=$(sed -n 's/^role //p' "/var/lib/packmaster/shares/$share" 2>/dev/null || :)
case $role in '' | standby | fenced) ;; *) refuse "it is its $role" ;; esac
if [ -n "$disk" ]; then
    awk -v point="$disk" '$5 == point {{ split($6, o, ","); mode = o[1] }} END {{ exit mode != "rw" }}' \
        /proc/self/mountinfo || refuse "its disk $disk is not mounted, or read-only"
fi
if [ -r /var/lib/nfs/etab ]; then
    ! awk -v code="$code" -v data="$data" '$1 == code || $1 == data {{ found = 1 }} END {{ exit !found }}' \
        /var/lib/nfs/etab || refuse "it exports it"
fi
mkdir -p /run/packmaster
exec flock -s -n -E 75 "/run/packmaster/sync-$share.lock" \
    rsync --server --daemon --config="{KEYS}/$share/receive.conf" .
"""


def key_directory(share: Share) -> str:
    """Where a server keeps what it copies the share with, and takes it in with."""
    return f"{KEYS}/{share.name}"


def receiver_files(share: Share) -> tuple[WriteFile, ...]:
    """What the destination of a copy has to have; no secret is in it."""
    folder = key_directory(share)
    names = {"share": share.name, "disk": share.disk, "code": share.code_path, "data": share.data_path}
    settings = "".join(f"{name}='{value}'\n" for name, value in names.items())
    return (
        WriteFile(RECEIVER, _RECEIVER, 0o755),
        WriteFile(f"{folder}/receive", f"{_HEAD}\n{settings}", 0o600),
        WriteFile(f"{folder}/receive.conf", _render_daemon(share), 0o600),
    )


def known_hosts_file(share: Share, destination: Machine) -> WriteFile:
    """What the source knows its destination by: the keys that are pinned for it, and nothing else."""
    address = destination.address if destination.port == 22 else f"[{destination.address}]:{destination.port}"
    text = "".join(f"{address} {key}\n" for key in destination.host_keys)
    return WriteFile(f"{key_directory(share)}/known_hosts", text, 0o600)


def door_line(share: Share, destination: Machine, source_address: str, public_key: str) -> str:
    """The line of authorized_keys on the destination (sshd(8)): one program, from one address.

    rsync has to be root there, to give files to their owners.
    """
    sudo = "" if destination.admin_user == "root" else "sudo -n "
    kind, blob = public_key.split()[:2]
    command = f"{sudo}{RECEIVER} {share.name}"
    return f'restrict,from="{source_address}",command="{command}" {kind} {blob} {door_mark(share)}'


def door_mark(share: Share) -> str:
    """The comment that our lines of authorized_keys are known by."""
    return f"packmaster-sync-{share.name}"


def digest_of(file: WriteFile) -> str:
    """SHA-256 of what a file has to hold, as sha256sum prints it."""
    return hashlib.sha256(file.content.encode()).hexdigest()


def _render_daemon(share: Share) -> str:
    """The configuration of rsync as a daemon (rsyncd.conf(5)): two directories, to write only."""
    common = """use chroot = yes
uid = 0
gid = 0
numeric ids = yes
munge symlinks = no
reverse lookup = no
forward lookup = no
read only = no
write only = yes
list = no
timeout = 300
"""
    modules = "".join(
        f"\n[{name}]\npath = {path}\n"
        for name, path in zip(MODULES, (share.code_path, share.data_path), strict=True)
    )
    return f"{_HEAD}\n{common}{modules}"
