"""A planned switch begins only when all are well, and is taken up where it was killed."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.errors import PlanRefused
from tasks.failover.switch import plan_switch
from tasks.failover.values import Ledger
from tasks.fencing.record import Role
from tests.failover.scene import NODES, gone, look

WELL = {"nfs1": look("nfs1", Role.PRIMARY, 4), "nfs2": look("nfs2", Role.STANDBY, 4)}


def well(**changes: Any) -> Any:
    return gone(**{"looks": WELL, "unseen": {}, "down": False, "witnesses": "OK", **changes})


def test_nodes_pause_before_the_server_ends_its_exports_and_go_on_after_the_other_serves() -> None:
    plan = plan_switch(well())
    where = [host for host, _ in plan.steps]
    assert where == ["nfs2", *NODES, "nfs1", "nfs2", "nfs2", *NODES, "nfs1"]
    assert (plan.epoch, plan.resumed) == (5, False)
    resumed = plan_switch(well(looks={**WELL, "nfs1": look("nfs1", Role.FENCED, 4)}, down=True))
    assert resumed.resumed


def test_nodes_that_a_killed_run_left_paused_do_not_stop_the_next_one() -> None:
    plan = plan_switch(well(misplaced=dict.fromkeys(NODES, "nothing is mounted"), detached=tuple(NODES)))
    assert plan == plan_switch(well())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"down": True}, "does not serve"),
        ({"unready": {"nfs2": "somebody else exports /srv"}}, "somebody else"),
        ({"unseen": {"nfs1": "no answer"}}, "no answer"),
        ({"misplaced": {"slave": "nothing is mounted"}}, "slave: nothing is mounted"),
        ({"ledger": Ledger(5, "nfs2", True)}, "Run failover-share"),
        ({"looks": {**WELL, "nfs2": look("nfs2", Role.FENCED, 3)}}, "rejoin-standby"),
    ],
)
def test_it_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanRefused, match=said):
        plan_switch(well(**changes))
