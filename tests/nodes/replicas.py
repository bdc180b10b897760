"""A share of two NFS servers and nobody else: its trees on a disk of their own, looked at from outside."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from pydantic import SecretStr

from tasks.fleet import Machine, Share
from tasks.replication import apply, facts
from tasks.replication.apply import Figures
from tasks.replication.plan import SyncPlan, plan_sync
from tasks.replication.safety import Purpose
from tasks.replication.values import SyncProof
from tasks.ssh import disconnect_all
from tests.nodes.machines import PackBed

NAME, MOUNT = "replicated", "/srv/replica"
TREES = (f"{MOUNT}/{NAME}/platforms", f"{MOUNT}/{NAME}/sites")
# The same disk as other tests', at a place of our own: whoever has it mounted goes on having it.
SET_UP = f"""
mkdir -p {MOUNT}
mountpoint -q {MOUNT} || mount /dev/ubdb {MOUNT}
rm -rf {MOUNT}/{NAME} {MOUNT}/filler /var/lib/packmaster/sync/{NAME} /var/lib/packmaster/shares/{NAME}
mkdir -p {" ".join(TREES)}
"""
CLEAR = f"""
if mountpoint -q {MOUNT}; then rm -rf {MOUNT}/{NAME} {MOUNT}/filler; umount -l {MOUNT}; fi
rm -rf /var/lib/packmaster/sync/{NAME} /var/lib/packmaster/shares/{NAME}
[ ! -f /root/.ssh/authorized_keys ] || sed -i '/ packmaster-sync-{NAME}$/d' /root/.ssh/authorized_keys
"""
# Everything that a copy has to keep, name by name; what is a server's own is left out.
SNAPSHOT = r"""
import hashlib, os, stat, sys
for tree in map(os.fsencode, sys.argv[1:]):
    links = {}
    for folder, directories, files in sorted(os.walk(tree)):
        for name in sorted(directories + files):
            if folder == tree and name.startswith(b".packmaster-"):
                continue
            path = os.path.join(folder, name)
            info = os.lstat(path)
            names = sorted(os.listxattr(path, follow_symlinks=False))
            more = [(key, os.getxattr(path, key, follow_symlinks=False)) for key in names]
            first = links.setdefault(info.st_ino, os.path.relpath(path, tree))
            link = os.readlink(path) if stat.S_ISLNK(info.st_mode) else b""
            text = hashlib.sha1(open(path, "rb").read()).hexdigest() if stat.S_ISREG(info.st_mode) else ""
            size = 0 if stat.S_ISDIR(info.st_mode) else info.st_size
            print(os.path.relpath(path, tree), oct(info.st_mode), info.st_uid, info.st_gid, size, text,
                  info.st_mtime_ns, first, link, more)
"""


@dataclass(frozen=True)
class Replica:
    """The share on nfs1, with nfs2 as its standby."""

    bed: PackBed
    share: Share

    @property
    def primary(self) -> Machine:
        return self.share.server

    @property
    def standby(self) -> Machine:
        assert self.share.standby is not None
        return self.share.standby

    def plan(self, purpose: Purpose = "standby") -> SyncPlan:
        return self._look(purpose)[2]

    def sync(self, purpose: Purpose = "standby", plan: SyncPlan | None = None) -> tuple[SyncProof, Figures]:
        """What sync-standby does, without Prefect around it; `plan` is one that was made before."""
        here, there, planned = self._look(purpose) if plan is None else (None, None, plan)
        if here is not None and there is not None:
            ends = ((self.primary, here), (self.standby, there))
            apply.prepare_way(*ends, self.share, planned, self.primary.address)
        return apply.sync_trees(self.primary, self.standby, self.share, planned, time.time())

    def turned(self) -> Replica:
        """The same after a failover: the other one serves."""
        return replace(self, share=replace(self.share, server=self.standby, standby=self.primary))

    def proof(self) -> SyncProof | None:
        return facts.read_standby(self.standby, self.share).proof

    def record(self, name: str, epoch: int, role: str) -> None:
        """A server's own record, as a failover leaves it; epoch 0 takes it away."""
        path = f"/var/lib/packmaster/shares/{NAME}"
        text = f"epoch {epoch}\\nrole {role}\\npeer \\n"
        make = f"mkdir -p {path.rpartition('/')[0]} && printf '{text}' >{path}"
        self.bed.guest(name, make if epoch else f"rm -f {path}")

    def snapshot(self, name: str) -> list[str]:
        return self.bed.guest(name, f"python3 - {' '.join(TREES)}", stdin=SNAPSHOT, timeout=120).splitlines()

    def assert_same(self) -> None:
        one, other = self.snapshot("nfs1"), self.snapshot("nfs2")
        assert one == other, sorted({*one} ^ {*other})[:10]

    def _look(self, purpose: Purpose) -> tuple[Any, Any, SyncPlan]:
        here = facts.read_side(self.primary, self.standby, self.share)
        there = facts.read_side(self.standby, self.primary, self.share)
        planned = plan_sync(self.share, here, there, self.standby, self.primary.address, purpose)
        return here, there, planned


def machine_of(bed: PackBed, name: str) -> Machine:
    key = SecretStr(bed.private_key.read_text(encoding="utf-8"))
    return Machine(name, bed.addresses[name], "nfs", key, (bed.host_keys[name],))


@pytest.fixture(scope="module")
def replica(pack_bed: PackBed) -> Iterator[Replica]:
    """Both servers with empty trees on their disks; afterwards nothing of it is left."""
    for name in ("nfs1", "nfs2"):
        pack_bed.guest(name, SET_UP)
    one, two = (machine_of(pack_bed, name) for name in ("nfs1", "nfs2"))
    code, data = TREES
    yield Replica(pack_bed, Share(NAME, one, one.address, code, data, standby=two, disk=MOUNT))
    disconnect_all()
    pack_bed.mend()
    for name in ("nfs1", "nfs2"):
        pack_bed.guest(name, CLEAR, check=False)


def events_about(api: Any, share: str) -> list[str]:
    """The names of all events about the share, oldest first."""
    wanted = {"resource": {"id": [f"packmaster.share.{share}"]}}
    answer = api.post("/events/filter", json={"filter": wanted, "limit": 50})
    events = sorted(json.loads(answer.text)["events"], key=lambda event: event["occurred"])
    return [event["event"].removeprefix("packmaster.share.") for event in events]
