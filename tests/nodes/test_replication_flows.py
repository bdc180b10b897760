"""sync-standby and rejoin-standby as an operator sees them: a table, one event a change, a way back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from prefect import flow
from pydantic import SecretStr

from blocks import NfsServer, Share, SshCredentials
from flows.enlist import enlist
from flows.ledger import read_ledger, write_ledger
from flows.locks import lock_name
from flows.rejoin_standby import rejoin_standby
from flows.standby import copy_afterwards
from flows.sync_standby import sync_standby
from tasks.failover import Ledger
from tasks.fencing.gate import GATE_FILES
from tasks.fleet import Target
from tasks.outcome import Outcome, Outcomes
from tests.nodes.fleet import change_nothing, fail, open_api, saved, succeed, wait_until
from tests.nodes.replicas import MOUNT, NAME, TREES, Replica, events_about, replica

__all__ = ["replica"]

CODE, DATA = TREES
DISARM = f"""
systemctl disable --now packmaster-epoch.socket packmaster-watch 2>/dev/null
rm -rf /var/lib/packmaster/shares/{NAME} {" ".join(file.path for file in GATE_FILES)}
systemctl daemon-reload
"""


@dataclass(frozen=True)
class Served:
    """The share as a block, with the servers `replica-nfs1` and `replica-nfs2`."""

    replica: Replica
    api: httpx.Client

    def share(self, server: str = "nfs1", standby: str = "nfs2", **fields: Any) -> Share:
        wanted = Share(
            server=NfsServer.load(f"replica-{server}"),
            standby=NfsServer.load(f"replica-{standby}"),
            disk=MOUNT,
            code_path=CODE,
            data_path=DATA,
            **fields,
        )
        block: Share = saved(wanted, NAME)
        return block

    def row(self) -> dict[str, str]:
        """The newest table about the standby."""
        wanted = {"artifacts": {"key": {"any_": [f"standby-{NAME}"]}}}
        found = self.api.post("/artifacts/latest/filter", json=wanted).json()
        (row,) = json.loads(found[0]["data"])
        return dict(row)

    def told(self, count: int) -> list[str]:
        """Events about the share; they arrive a moment later."""
        return list(
            wait_until(lambda: (found := events_about(self.api, NAME)) and len(found) >= count and found)
        )


@pytest.fixture(scope="module")
def served(replica: Replica, prefect_server: str) -> Iterator[Served]:
    bed = replica.bed
    key = SecretStr(bed.private_key.read_text(encoding="utf-8"))
    credentials = saved(SshCredentials(private_key=key), "replica-key")
    for name in ("nfs1", "nfs2"):
        block = NfsServer(
            address=bed.addresses[name], credentials=credentials, host_keys=[bed.host_keys[name]]
        )
        saved(block, f"replica-{name}")
    with open_api(prefect_server) as api:
        yield Served(replica, api)
        for name in ("server-replica-nfs1", "server-replica-nfs2", f"share-{NAME}"):
            kind, _, rest = name.partition("-")
            api.delete(f"/v2/concurrency_limits/{lock_name(kind, rest)}")
    for name in ("nfs1", "nfs2"):
        bed.guest(name, DISARM, check=False)


def test_the_table_says_how_old_the_copy_is(served: Served) -> None:
    bed, share = served.replica.bed, served.share()
    bed.guest("nfs1", f"mkdir -p {DATA}/blog; echo one >{DATA}/blog/upload")
    shown = sync_standby(share=share, dry_run=True, return_state=True)
    assert shown.is_completed(), shown.message
    assert bed.guest("nfs2", f"ls -A {DATA}") == ""
    outcomes = succeed(sync_standby, share=share)
    assert [o.host for o in outcomes.changed] == ["replica-nfs2", "replica-nfs2"]
    assert bed.guest("nfs2", f"cat {DATA}/blog/upload") == "one\n"
    row = served.row()
    assert (row["state"], row["copy"], row["from"]) == ("OK", "1", "replica-nfs1")
    assert float(row["lag (s)"]) < 60
    change_nothing(sync_standby, share=share)
    assert served.row()["copy"] == "2"
    assert events_about(served.api, NAME) == []


def test_a_standby_in_trouble_is_told_of_once(served: Served) -> None:
    """Full, then older than it may be, then well again: three events, however often it is looked at."""
    bed, share = served.replica.bed, served.share()
    room = f"$(($(df -B1 --output=avail {MOUNT} | tail -1) - 8388608))"
    bed.guest("nfs2", f"fallocate -l {room} {MOUNT}/filler")
    try:
        for _ in range(2):
            assert "is full: 8 MiB are free" in fail(sync_standby, share=share)
        assert served.row()["state"] == "FULL"
        assert served.told(1) == ["standby_full"]
        # What deploys to the pack says so, and is not failed by it.
        assert deploy_something(share) == ("unchanged", True)
        fail(sync_standby, share=served.share(recovery_point_seconds=1))
        assert served.row()["state"] == "BEHIND"
        assert served.row()["copy"] == "2"
    finally:
        bed.guest("nfs2", f"rm {MOUNT}/filler")
    assert deploy_something(served.share()) == ("changed", False)
    assert served.row()["state"] == "OK"
    assert served.told(3) == ["standby_full", "standby_behind", "standby_recovered"]


def deploy_something(share: Share) -> tuple[str, bool]:
    """What a run that changed something says at its end: whether it copied, and whether it warns."""

    @flow(name="deploy something")
    def deploy() -> Outcomes:
        target = Target("pack", (), share=share.resolve())
        return copy_afterwards(target, Outcomes((Outcome("master1", "switch", changed=True),)))

    (outcome,) = deploy()
    assert outcome.ok
    return outcome.verdict, "NOT copied" in outcome.detail


def test_an_old_server_comes_back_as_the_standby(served: Served) -> None:
    """nfs1, whose clock is wrong, was put out of action with a file that nobody else has; nfs2 serves."""
    replica, share = served.replica, served.share()
    bed = replica.bed
    flow(name="enlist")(lambda: enlist(share.resolve()))()
    assert "role standby" in bed.guest("nfs2", f"cat /var/lib/packmaster/shares/{NAME}")
    change_nothing(sync_standby, share=share)
    bed.guest(
        "nfs1", f"date -s '2 hours ago'; echo orphan >{DATA}/blog/orphan; sync; date -s 'now + 2 hours'"
    )
    replica.record("nfs1", 1, "fenced")
    replica.record("nfs2", 2, "primary")
    ledger = read_ledger(NAME)
    write_ledger(NAME, ledger, Ledger(2, "replica-nfs2"))
    assert "replica-nfs2" in fail(sync_standby, share=share), "the inventory is from before the failover"
    bed.guest("nfs2", f"echo two >{DATA}/blog/upload")
    turned = served.share("nfs2", "nfs1")
    assert "rejoin-standby" in fail(sync_standby, share=turned)
    outcomes = succeed(rejoin_standby, share=turned)
    assert any(o.step == "save aside" and o.changed for o in outcomes)
    assert bed.guest("nfs1", f"cat {DATA}/blog/upload; ls {DATA}/blog") == "two\nupload\n"
    saved_files = bed.guest("nfs1", f"cat {MOUNT}/{NAME}/.packmaster-saved/{NAME}-*/data/blog/orphan")
    assert saved_files == "orphan\n"
    assert "role standby" in bed.guest("nfs1", f"cat /var/lib/packmaster/shares/{NAME}")
    change_nothing(sync_standby, share=turned)
    assert succeed(rejoin_standby, share=turned)
    replica.assert_same()
