"""Two servers of a share as a copy sees them, healthy unless a test says otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from tasks.fencing.record import Record, Role
from tasks.fleet import Machine, Share
from tasks.replication.doors import digest_of, door_line, known_hosts_file, receiver_files
from tasks.replication.plan import SyncPlan, plan_sync
from tasks.replication.safety import Purpose
from tasks.replication.values import Side, SyncProof, Tree

DISK = "/srv/disk"
GIB = 1024**3
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPrimary"
ADDRESS = "192.0.2.61"


def machine(name: str, address: str) -> Machine:
    return Machine(name, address, "nfs", SecretStr("-"), ("ssh-ed25519 AAAAHostKey",))


ONE, TWO = machine("nfs1", ADDRESS), machine("nfs2", "192.0.2.62")
SHARE = Share(
    name="files",
    server=ONE,
    standby=TWO,
    address=ADDRESS,
    disk=DISK,
    code_path=f"{DISK}/platforms",
    data_path=f"{DISK}/sites",
)
PATHS = (SHARE.code_path, SHARE.data_path)


def proof(sequence: int, epoch: int = 1, started: float = 1000.0) -> SyncProof:
    return SyncProof(sequence, started, started + 2, epoch, "nfs1")


def tree(token: SyncProof | None = None, **changes: Any) -> Tree:
    fields: dict[str, Any] = {
        "kind": "directory",
        "empty": token is None,
        "total_bytes": 10 * GIB,
        "free_bytes": 6 * GIB,
        "total_inodes": 100_000,
        "free_inodes": 60_000,
        "token": token,
    }
    return Tree(**{**fields, **changes})


def server(token: SyncProof | None = None, **changes: Any) -> Side:
    """The share's server, with a key; `token` is what its last copy left in its trees."""
    known = known_hosts_file(SHARE, TWO)
    fields: dict[str, Any] = {
        "host": "nfs1",
        "record": Record(1, Role.PRIMARY, TWO.address),
        "disk": "rw",
        "trees": {path: tree(token, empty=False) for path in PATHS},
        "has_rsync": True,
        "public_key": KEY,
        "files": {known.path: digest_of(known)},
    }
    return Side(**{**fields, **changes})


def standby(token: SyncProof | None = None, **changes: Any) -> Side:
    """Its standby, which lets it in."""
    fields: dict[str, Any] = {
        "host": "nfs2",
        "record": Record(1, Role.STANDBY, ADDRESS),
        "disk": "rw",
        "trees": {path: tree(token) for path in PATHS},
        "has_rsync": True,
        "doors": (door_line(SHARE, TWO, ADDRESS, KEY),),
        "files": {file.path: digest_of(file) for file in receiver_files(SHARE)},
    }
    return Side(**{**fields, **changes})


def plan(here: Side, there: Side, purpose: Purpose = "standby", share: Share = SHARE) -> SyncPlan:
    return plan_sync(share, here, there, TWO, ADDRESS, purpose)


def both(side: Side, **changes: Any) -> Side:
    """The same with both its trees changed."""
    return replace(side, trees={path: replace(one, **changes) for path, one in side.trees.items()})
