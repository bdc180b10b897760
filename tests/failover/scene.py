"""A share with a standby and its servers as values, for the tests of plans."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from tasks.failover.values import Ledger, Situation
from tasks.fencing.gate import GATE_FILES
from tasks.fencing.record import Record, Role
from tasks.fencing.values import ServerLook
from tasks.fleet import FenceCommand, Machine, Share
from tasks.nfs.exports import Export

FENCE = FenceCommand(("ipmi", "off"), ("ipmi", "status"), "off")


def machine(name: str, octet: int, **fields: Any) -> Machine:
    return Machine(name, f"192.0.2.{octet}", "nfs", SecretStr("key"), ("ssh-ed25519 A",), **fields)


OLD, NEW = machine("nfs1", 1, fence=FENCE), machine("nfs2", 2)
SHARE = Share(
    "files", OLD, OLD.address, "/srv/p/platforms", "/srv/p/sites", standby=NEW, disk="/srv/p",
    recovery_point_seconds=300,
)  # fmt: skip
EXPORTS = (Export(SHARE.data_path, "192.0.2.9", ("rw",)),)
NODES = ("master", "slave")


def look(name: str, role: Role, epoch: int, **fields: Any) -> ServerLook:
    gate = {"answers": True, "files": dict.fromkeys((file.path for file in GATE_FILES), "digest")}
    return ServerLook(name, Record(epoch, role), disk="rw", **{**gate, **fields})


def gone(**changes: Any) -> Situation:
    """The server is silent, and its standby has a copy of half a minute ago."""
    seen = Situation(
        share=SHARE,
        ledger=Ledger(4, "nfs1"),
        looks={"nfs2": look("nfs2", Role.STANDBY, 4)},
        unseen={"nfs1": "no answer"},
        nodes=NODES,
        down=True,
        agreed=True,
        witnesses="HUNG",
        lag=30.0,
    )
    return replace(seen, **changes)
