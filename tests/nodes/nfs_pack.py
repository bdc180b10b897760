"""A pack on machines with kernels of their own: registered, provided, and looked at without the code under
test.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow
from pydantic import SecretStr

from blocks import NfsServer, Pack, Share, SshCredentials, WebServer
from flows.provision import withdraw
from tasks.errors import Unreachable
from tasks.fleet import Machine, ServerKind, Target
from tasks.nfs.facts import Questions, node_questions, read_machine, server_questions
from tasks.nfs.plan import ProvisionPlan, plan_provision
from tasks.nfs.state import MachineFacts
from tasks.outcome import Outcomes
from tests.nodes.fleet import saved
from tests.nodes.machines import MACHINES, PackBed

ROOT = Path(__file__).resolve().parents[2]
KINDS: dict[str, ServerKind] = {"master1": "apache", "slave1": "apache", "slave2": "nginx"}
CODE, DATA = "/var/aegir/platforms", "/var/aegir/sites"
DISK = "/srv/disk"
# What another test left of a pack, whatever it was called; nothing of what it wrote into its share.
CLEAR = r"""
systemctl disable --now packmaster-mounts 2>/dev/null
for point in /var/aegir/platforms /var/aegir/sites; do
    while umount -l $point 2>/dev/null; do :; done
    [ ! -d $point ] || rmdir $point || mv $point $point.$$
done
sed -i -e '/x-packmaster=/d' -e '/^# mine$/d' -e '/scratch/d' /etc/fstab
rm -f /etc/exports.d/other.exports
systemctl disable --now packmaster-epoch.socket packmaster-watch 2>/dev/null
rm -rf /var/lib/packmaster/shares /etc/systemd/system/nfs-server.service.d/packmaster.conf
for file in /etc/exports.d/packmaster-*.exports; do
    [ ! -e "$file" ] || { rm -f "$file"; [ ! -e /proc/fs/nfsd/threads ] || exportfs -r; }
done
systemctl daemon-reload
old=$(id -u aegir 2>/dev/null || echo 5000)
[ "$old" = 5000 ] || {
    groupmod -g 5000 aegir
    usermod -u 5000 aegir
    find /var/aegir /srv -xdev -uid "$old" -exec chown -h aegir:aegir {} +
}
"""
MOUNT_DISK = f"""
mkdir -p {DISK}
grep -q {DISK} /etc/fstab || echo '/dev/ubdb {DISK} ext4 nofail 0 0' >>/etc/fstab
sync
mountpoint -q {DISK} || mount {DISK}
"""
# Everything that provisioning could touch, times included where they are not those of a mount.
SNAPSHOT = r"""
find /etc/fstab /etc/exports /etc/exports.d /etc/systemd/system /usr/local/sbin /etc/passwd /etc/group \
    -printf '%p %m %u:%g %s %T@ %l\n' 2>/dev/null | sort
cut -d ' ' -f 1- /proc/self/mountinfo | grep -e aegir -e srv
[ ! -e /var/lib/nfs/etab ] || sort /var/lib/nfs/etab
"""


def read_again(machine: Machine, questions: Questions) -> MachineFacts:
    """Read a machine as a task does, which asks again: a connection from before a power cut is dead."""
    try:
        return read_machine(machine, questions)
    except Unreachable:
        return read_machine(machine, questions)


@dataclass(frozen=True)
class NfsPack:
    """The machines as blocks: the pack `nfs-pack` of `nfs-master1`, `nfs-slave1` and `nfs-slave2`."""

    bed: PackBed
    pack: Pack
    target: Target

    def mounts(self, name: str) -> dict[str, str]:
        """Mount point -> the rest of its line in the kernel's table, of everything below /var/aegir."""
        lines = self.bed.guest(name, "grep ' /var/aegir/' /proc/self/mountinfo || :").splitlines()
        return {line.split()[4]: " ".join(line.split()[5:]) for line in lines}

    def read(self) -> dict[str, MachineFacts]:
        """The facts that a flow reads, without a flow."""
        share = self.target.share
        assert share is not None
        servers = [share.server, *([share.standby] if share.standby else [])]
        asked: list[tuple[Machine, Questions]] = [(m, server_questions(share)) for m in servers]
        asked += [(node, node_questions(self.target)) for node in self.target.nodes]
        with ThreadPoolExecutor(len(MACHINES)) as pool:
            seen = pool.map(lambda each: read_again(*each), asked)
            return {facts.host: facts for facts in seen}

    def plan(self, **parameters: Any) -> ProvisionPlan:
        return plan_provision(self.target, self.read(), **parameters)

    def withdraw(self, name: str) -> Outcomes:
        """What remove-node does to one node's mounts and exports."""
        (node,) = (node for node in self.target.nodes if node.name == name)

        @flow(name="withdraw")
        def withdraw_node() -> Outcomes:
            return withdraw(self.target, node)

        outcomes: Outcomes = withdraw_node()
        return outcomes

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """What happens inside changes nothing on any machine."""
        before = self._look()
        yield
        after = self._look()
        assert before == after, {name: sorted(before[name] ^ after[name]) for name in before}

    def _look(self) -> dict[str, set[str]]:
        return {name: set(text.splitlines()) for name, text in on_all(self.bed, SNAPSHOT).items()}


def register(bed: PackBed, mount_address: str = "", **changes: Any) -> NfsPack:
    """Save the machines and the pack as an operator does; `changes` are fields of the share, and
    `mount_address` is one of its server.
    """
    key = SecretStr(bed.private_key.read_text(encoding="utf-8"))
    credentials = saved(SshCredentials(private_key=key), "nfs-key")
    common = {
        name: {"address": bed.addresses[name], "credentials": credentials, "host_keys": [bed.host_keys[name]]}
        for name in MACHINES
    }
    for name, kind in KINDS.items():
        saved(WebServer(kind=kind, **common[name]), f"nfs-{name}")
    common["nfs1"]["mount_address"] = mount_address
    servers = {name: saved(NfsServer(**common[name]), f"nfs-{name}") for name in ("nfs1", "nfs2")}
    fields = {"server": servers["nfs1"], "standby": servers["nfs2"], "disk": DISK, **changes}
    fields = {"code_path": f"{DISK}/blogs/platforms", "data_path": f"{DISK}/blogs/sites", **fields}
    share = saved(Share(**fields), "nfs-share")
    slaves = ["nfs-slave1", "nfs-slave2"]
    pack = saved(Pack(master=WebServer.load("nfs-master1"), slaves=slaves, share=share), "nfs-pack")
    return NfsPack(bed, pack, pack.resolve())


def register_own_server(bed: PackBed) -> NfsPack:
    """Another pack, of a master that exports its own disk and one slave."""
    pack = register(bed)
    master = pack.pack.master
    own = NfsServer(address=master.address, credentials=master.credentials, host_keys=list(master.host_keys))
    share = saved(Share(server=saved(own, "nfs-own")), "nfs-own")
    pack_of_own = saved(Pack(master=master, slaves=["nfs-slave1"], share=share), "nfs-own")
    return NfsPack(bed, pack_of_own, pack_of_own.resolve())


def clear(bed: PackBed) -> None:
    """No machine is of any pack; the disks of the NFS servers are mounted."""
    on_all(bed, CLEAR)
    on_all(bed, MOUNT_DISK, "nfs1", "nfs2")


def on_all(bed: PackBed, script: str, *names: str) -> dict[str, str]:
    """Run a script on machines at the same time; gives what each printed."""
    with ThreadPoolExecutor(len(MACHINES)) as pool:
        said = pool.map(lambda name: bed.guest(name, script, check=False, timeout=120), names or MACHINES)
        return dict(zip(names or MACHINES, said, strict=True))
