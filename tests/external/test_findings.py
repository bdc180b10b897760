"""What would keep a cluster from failing over once more is told before it has to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasks.external.findings import CLUSTER, find_cluster
from tasks.external.values import DrbdState, MemberSight, PacemakerState
from tasks.liveness.values import Verdict
from tasks.nfs.exports import Export

NAMES, ADDRESS, PATHS = ("nfs1", "nfs2"), "192.0.2.60", ("/srv/p/platforms", "/srv/p/sites")
TABLE = tuple(Export(path, "192.0.2.9", ("rw", f"fsid={n}")) for n, path in enumerate(PATHS, 1))
DRBD = DrbdState("files", "Primary", ("Secondary",))
PACEMAKER = PacemakerState(nodes=(("nfs1", "online"), ("nfs2", "online")))
ONE = MemberSight("nfs1", ("192.0.2.61", ADDRESS), 8, TABLE, "ha", (DRBD,), PACEMAKER)
OTHER = replace(ONE, host="nfs2", addresses=("192.0.2.62",), threads=0, table=())


def look(one: MemberSight | None = ONE, other: MemberSight | None = OTHER) -> dict[str, tuple[Verdict, str]]:
    sights = {sight.host: sight for sight in (one, other) if sight is not None}
    found = find_cluster(NAMES, ADDRESS, PATHS, sights, {"nfs1": "no route", "nfs2": "no route"})
    assert {mount for _, mount in found} <= {CLUSTER}
    return {host: (finding.verdict, finding.detail) for (host, _), finding in found.items()}


def test_a_cluster_that_is_well_says_who_has_the_address() -> None:
    found = look()
    assert {verdict for verdict, _ in found.values()} == {Verdict.OK}
    assert "has the address 192.0.2.60" in found["nfs1"][1]
    assert "has the address" not in found["nfs2"][1]


def test_a_server_that_cannot_be_looked_into_is_its_own_trouble() -> None:
    found = look(other=None)
    assert found["nfs1"][0] is Verdict.OK
    assert found["nfs2"] == (Verdict.DEGRADED, "it cannot be looked into: no route")


def test_without_servers_nothing_is_said() -> None:
    assert find_cluster((), ADDRESS, PATHS, {}, {}) == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"addresses": (ADDRESS,)}, "nfs1 and nfs2 have the address 192.0.2.60 at once"),
        ({"scope": "nfs2"}, "server scope differs (nfs1 has ha, nfs2 has nfs2)"),
        ({"table": (TABLE[0], replace(TABLE[1], options=("rw", "fsid=9")))}, "fsid of /srv/p/sites differs"),
        ({"drbd": (replace(DRBD, peers=("Primary",)),)}, "written to on 2 servers"),
        ({"drbd": (replace(DRBD, troubles=("disk:Inconsistent",)),)}, "DRBD files: disk:Inconsistent"),
        ({"drbd": ()}, "shows no resource"),
        ({"pacemaker": PacemakerState(answered=False)}, "Pacemaker does not answer"),
        ({"pacemaker": replace(PACEMAKER, stonith=False)}, "stonith is disabled"),
        ({"pacemaker": replace(PACEMAKER, quorum=False)}, "no quorum"),
        ({"pacemaker": replace(PACEMAKER, maintenance=True)}, "in maintenance"),
        ({"pacemaker": replace(PACEMAKER, nodes=(("nfs1", "offline"),))}, "nfs1 is offline"),
        ({"pacemaker": replace(PACEMAKER, failures=("nfsd on nfs2: error",))}, "failed: nfsd on nfs2: error"),
    ],
)
def test_each_trouble_is_named(changes: dict[str, Any], said: str) -> None:
    verdict, detail = look(other=replace(OTHER, **changes))["nfs2"]
    assert verdict is Verdict.DEGRADED
    assert said in detail


def test_an_export_without_an_fsid_is_named() -> None:
    bare = tuple(replace(export, options=("rw",)) for export in TABLE)
    assert "exported without an fsid" in look(one=replace(ONE, table=bare))["nfs1"][1]
