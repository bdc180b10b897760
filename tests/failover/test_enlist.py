"""Which roles a share's servers get: the server knows of its peer first, and nobody is a standby unasked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.errors import PlanRefused
from tasks.failover.enlist import plan_enlistment
from tasks.failover.values import Ledger
from tasks.fencing.record import Record, Role
from tests.failover.scene import EXPORTS, SHARE, look

NONE = {"nfs1": look("nfs1", Role.NONE, 0), "nfs2": look("nfs2", Role.NONE, 0)}
BOTH = (
    ("nfs1", Record(1, Role.PRIMARY, "192.0.2.2")),
    ("nfs2", Record(1, Role.STANDBY, "192.0.2.1")),
)


def test_a_new_share_begins_with_epoch_1_and_its_server_knows_of_its_peer_first() -> None:
    plan = plan_enlistment(SHARE, Ledger(), NONE)
    assert (plan.ledger, plan.records) == (Ledger(1, "nfs1"), BOTH)


def test_a_ledger_that_was_lost_is_made_again_from_what_servers_say() -> None:
    looks = {"nfs1": look("nfs1", Role.PRIMARY, 7), "nfs2": look("nfs2", Role.STANDBY, 7)}
    assert plan_enlistment(SHARE, Ledger(), looks).ledger == Ledger(7, "nfs1")


def test_a_server_that_was_fenced_is_no_standby_before_it_was_synced() -> None:
    looks = {"nfs1": look("nfs1", Role.PRIMARY, 5), "nfs2": look("nfs2", Role.FENCED, 4)}
    alone = plan_enlistment(SHARE, Ledger(5, "nfs1"), looks)
    assert alone.records == (("nfs1", Record(5, Role.PRIMARY)),)
    assert "rejoin-standby" in alone.notes[0]
    both = plan_enlistment(SHARE, Ledger(5, "nfs1"), looks, synced=True)
    assert [record.role for _, record in both.records] == [Role.PRIMARY, Role.STANDBY]


def test_without_its_standby_a_server_goes_on_under_an_epoch_that_this_one_does_not_know() -> None:
    primary = replace(look("nfs1", Role.PRIMARY, 5), record=Record(5, Role.PRIMARY, "192.0.2.2"))
    plan = plan_enlistment(replace(SHARE, standby=None), Ledger(5, "nfs1"), {"nfs1": primary})
    assert (plan.ledger.epoch, plan.records) == (6, (("nfs1", Record(6, Role.PRIMARY)),))


@pytest.mark.parametrize(
    ("ledger", "server", "standby", "said"),
    [
        (Ledger(5, "nfs2"), (Role.FENCED, 4), (Role.PRIMARY, 5), "since epoch 5 it is nfs2"),
        (Ledger(5, "nfs2", True), (Role.PRIMARY, 4), (Role.TAKING_OVER, 5), "being moved to nfs2"),
        (Ledger(), (Role.PRIMARY, 4), (Role.PRIMARY, 5), "own record says|is primary of epoch 5"),
        (Ledger(5, "nfs1"), (Role.FENCED, 5), (Role.STANDBY, 5), "its own record says"),
        (Ledger(5, "nfs1"), (Role.PRIMARY, 6), (Role.STANDBY, 5), "its own record says"),
    ],
)
def test_records_that_contradict_the_inventory_are_refused(
    ledger: Ledger, server: tuple[Role, int], standby: tuple[Role, int], said: str
) -> None:
    with pytest.raises(PlanRefused, match=said):
        plan_enlistment(SHARE, ledger, {"nfs1": look("nfs1", *server), "nfs2": look("nfs2", *standby)})


def test_a_standby_that_exports_is_refused() -> None:
    looks = {**NONE, "nfs2": look("nfs2", Role.STANDBY, 1, table=EXPORTS, threads=8)}
    with pytest.raises(PlanRefused, match="and exports it"):
        plan_enlistment(SHARE, Ledger(), looks)
