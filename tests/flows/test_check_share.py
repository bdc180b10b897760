"""When a share that may fail over by itself calls for its standby."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from flows.check_share import wants_standby
from flows.watch import Circle, Looked
from tasks.fleet import Machine, Share
from tasks.liveness.history import TO_RAISE, Watch, judge
from tasks.liveness.quorum import find_all
from tasks.liveness.values import Sample
from tests.liveness.scene import (
    CODE,
    DATA,
    HANGS,
    KEY,
    NODES,
    SHARE,
    SILENT,
    WATCHED,
    cut_off,
    on,
    sample,
    server_sight,
)

STANDBY = Machine("nfs2", "192.0.2.62", "nfs", KEY, ())
ALLOWED = replace(SHARE, standby=STANDBY, automatic_failover=True)
GONE = on("master1 slave1 slave2", cut_off, controller=SILENT, server=None)


def wants(seen: Sample, times: int = TO_RAISE, share: Share = ALLOWED) -> bool:
    """After so many samples of the same, the first of them of a share that was well."""
    circle = Circle(share, WATCHED, {node.name: node for node in NODES})
    watch = Watch()
    for one in (sample(), *(seen for _ in range(times))):
        watch = judge(watch, find_all(WATCHED, one), datetime.now(UTC), WATCHED)
    return wants_standby(circle, Looked(watch, seen, times))


def test_a_server_that_is_gone_to_all_is_replaced() -> None:
    assert wants(GONE)
    assert not wants(GONE, times=TO_RAISE - 1), "it may have been a moment"
    assert not wants(sample())


def test_not_without_the_policy_and_a_standby() -> None:
    assert not wants(GONE, share=replace(ALLOWED, automatic_failover=False))
    assert not wants(GONE, share=replace(ALLOWED, standby=None))


@pytest.mark.parametrize(
    "seen",
    [
        on("master1 slave1 slave2", cut_off),
        on("slave1", cut_off, controller=SILENT),
        replace(GONE, nodes={"slave1": GONE.nodes["slave1"]}),
        sample(server=replace(server_sight(), paths={CODE: HANGS, DATA: HANGS})),
    ],
    ids=["the controller reaches it", "one node does not", "too few can be asked", "its disk hangs"],
)
def test_not_while_it_may_be_alive(seen: Sample) -> None:
    assert not wants(seen)
