"""The plan of a failover: never two writable servers, no loss that nobody accepted, and it can be resumed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import PlanRefused
from tasks.failover.plan import plan_failover
from tasks.failover.values import Ledger, Request
from tasks.fencing.record import Role
from tests.failover.scene import EXPORTS, NEW, NODES, OLD, SHARE, gone, look

AUTO = replace(SHARE, automatic_failover=True)


def test_a_server_that_is_gone_is_fenced_before_its_standby_is_promoted() -> None:
    plan = plan_failover(gone(), Request())
    assert (plan.old, plan.new, plan.epoch, plan.nodes, plan.loss) == ("nfs1", "nfs2", 5, NODES, 30.0)
    steps = [f"{where}: {what.split(':')[0].split(',')[0]}" for where, what in plan.steps]
    assert steps == [
        "nfs2: claim epoch 5",
        "nfs1: fence",
        "nfs2: promote",
        "inventory: nfs2 is the server of share files",
        "master: drain",
        "slave: drain",
    ]
    assert "last 30 s may be lost" in str(plan)


def test_a_server_that_answers_is_left_alone() -> None:
    plan = plan_failover(gone(down=False, witnesses="OK"), Request())
    assert not plan
    assert "switch-share" in str(plan)
    assert plan_failover(gone(down=False), Request(although_it_answers=True)).takes_over


def test_nodes_that_were_left_behind_are_moved_without_anything_else() -> None:
    seen = gone(
        share=SHARE.served_by("nfs2"),
        ledger=Ledger(5, "nfs2"),
        down=False,
        misplaced={"slave": "mounted from nfs1"},
    )
    plan = plan_failover(seen, Request())
    assert (plan.nodes, plan.takes_over, plan.rewrites) == (("slave",), False, False)
    assert plan_failover(replace(seen, share=SHARE), Request()).rewrites


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lag": None}, "never got a whole copy"),
        ({"lag": 301.0}, "may lose 300 s"),
        ({"looks": {}, "unseen": {"nfs2": "no route"}}, "no route"),
        ({"looks": {"nfs2": look("nfs2", Role.FENCED, 4)}}, "rejoin-standby"),
        ({"looks": {"nfs2": look("nfs2", Role.STANDBY, 3)}}, "no standby under epoch 4"),
        ({"looks": {"nfs2": look("nfs2", Role.STANDBY, 4, table=EXPORTS)}}, "exports share files already"),
        ({"looks": {"nfs2": replace(look("nfs2", Role.STANDBY, 4), disk="ro")}}, "read-only"),
        ({"looks": {"nfs2": look("nfs2", Role.STANDBY, 4, listed=True)}}, "exports.d already"),
        ({"looks": {"nfs2": look("nfs2", Role.STANDBY, 4, answers=False)}}, "does not answer"),
        ({"looks": {"nfs2": look("nfs2", Role.STANDBY, 4, files={})}}, "is not there"),
        ({"unready": {"nfs2": "somebody else exports /srv"}}, "could not export share files: somebody else"),
        ({"ledger": Ledger()}, "no epoch yet"),
        ({"ledger": Ledger(4, "nfs3")}, "neither its server nor"),
        ({"ledger": Ledger(4, "nfs2")}, "does not answer, and the inventory says"),
        ({"share": replace(SHARE, standby=None)}, "no standby"),
        ({"share": replace(SHARE, mode="external")}, "no standby"),
    ],
)
def test_it_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanRefused, match=said):
        plan_failover(gone(**changes), Request())


def test_a_loss_beyond_the_recovery_point_has_to_be_accepted() -> None:
    with pytest.raises(PlanRefused, match="accept_loss_seconds of at least 960"):
        plan_failover(gone(lag=900.0), Request(accept_loss_seconds=800))
    assert plan_failover(gone(lag=900.0), Request(accept_loss_seconds=960)).loss == 900.0


def test_a_name_that_was_typed_must_be_that_of_the_server_to_fence() -> None:
    with pytest.raises(PlanRefused, match="it is nfs1 that has to be"):
        plan_failover(gone(), Request(fenced_by_hand="nfs2"))


@pytest.mark.parametrize(
    ("changes", "request_", "said"),
    [
        ({}, Request(automatic=True), "wants a person's approval"),
        (
            {"share": AUTO, "down": False, "agreed": False},
            Request(automatic=True, although_it_answers=True),
            "not known to be gone",
        ),
        ({"share": AUTO, "agreed": False}, Request(automatic=True), "not known to be gone to a majority"),
        ({"share": AUTO}, Request(automatic=True, accept_loss_seconds=900), "only a person may accept"),
        (
            {"share": replace(AUTO, server=replace(OLD, fence=None))},
            Request(automatic=True),
            "no fence command",
        ),
    ],
)
def test_without_a_person_whatever_is_in_doubt_is_refused(
    changes: dict[str, Any], request_: Request, said: str
) -> None:
    with pytest.raises(PlanRefused, match=said):
        plan_failover(gone(**changes), request_)


def test_the_policy_may_allow_it_without_a_person() -> None:
    assert plan_failover(gone(share=AUTO), Request(automatic=True)).takes_over


moving = st.builds(Ledger, st.just(5), st.just("nfs2"), st.just(True))
roles = st.sampled_from(list(Role))
looks = st.builds(
    look, st.just("nfs2"), roles, st.integers(3, 6), table=st.sampled_from([(), EXPORTS]), threads=st.just(8)
)
requests = st.builds(
    Request,
    st.none() | st.integers(0, 2000),
    st.sampled_from(["", "nfs1", "nfs2"]),
    st.booleans(),
    st.booleans(),
)
lags = st.none() | st.floats(0, 4000)


@given(st.just(Ledger(4, "nfs1")) | moving, looks, requests, lags, st.booleans(), st.booleans())
def test_nothing_is_promoted_that_is_no_standby_or_too_old_or_without_fencing(
    ledger: Ledger, standby: Any, request_: Request, lag: float | None, down: bool, automatic: bool
) -> None:
    share = replace(SHARE, automatic_failover=automatic)
    seen = gone(share=share, ledger=ledger, looks={"nfs2": standby}, lag=lag, down=down, agreed=down)
    try:
        plan = plan_failover(seen, request_)
    except PlanRefused:
        return
    if not plan.takes_over:
        assert not down
        return
    promoted = standby.record.role is Role.PRIMARY
    assert plan.epoch == 5
    assert standby.record.role in {Role.STANDBY, Role.TAKING_OVER, Role.PRIMARY}
    assert standby.record.epoch == (4 if standby.record.role is Role.STANDBY else 5)
    if not promoted:
        assert lag is not None
        assert lag <= max(300, request_.accept_loss_seconds or 0)
        assert not standby.table
        what = [text.partition(",")[0].partition(":")[0] for _, text in plan.steps]
        assert what.index("fence") < what.index("promote")
    if request_.automatic:
        assert automatic
        assert down


def test_an_interrupted_run_is_finished_wherever_it_ended() -> None:
    for standby, claims in (
        (look("nfs2", Role.STANDBY, 4), True),
        (look("nfs2", Role.TAKING_OVER, 5), False),
        (look("nfs2", Role.PRIMARY, 5, table=EXPORTS), False),
    ):
        seen = gone(ledger=Ledger(5, "nfs2", moving=True), looks={"nfs2": standby}, down=False)
        plan = plan_failover(seen, Request())
        assert (plan.takes_over, plan.claims, plan.epoch, plan.new) == (True, claims, 5, NEW.name)
        with pytest.raises(PlanRefused, match="nfs1 is silent and nfs2 is"):
            plan_failover(seen, Request(withdraw=True))


BACK = {"nfs1": look("nfs1", Role.PRIMARY, 4), "nfs2": look("nfs2", Role.STANDBY, 4)}


def test_a_run_that_was_killed_before_it_did_anything_is_forgotten_when_the_server_is_back() -> None:
    seen = gone(ledger=Ledger(5, "nfs2", moving=True), looks=BACK, unseen={}, down=False, witnesses="OK")
    plan = plan_failover(seen, Request())
    assert (plan.takes_over, plan.rewrites, plan.new, plan.epoch, plan.nodes) == (False, True, "nfs1", 4, ())
    assert "killed before it did anything" in str(plan)
    assert plan_failover(seen, Request(although_it_answers=True)).takes_over


@pytest.mark.parametrize(
    "changes",
    [
        {"down": True},
        {"looks": {**BACK, "nfs2": look("nfs2", Role.TAKING_OVER, 5)}, "down": True},
        {"looks": {**BACK, "nfs1": look("nfs1", Role.FENCED, 4)}},
        {"looks": {**BACK, "nfs2": look("nfs2", Role.PRIMARY, 5)}},
        {"looks": {"nfs2": BACK["nfs2"]}, "unseen": {"nfs1": "no answer"}},
    ],
)
def test_a_run_that_did_something_is_finished(changes: dict[str, Any]) -> None:
    seen = gone(
        **{"ledger": Ledger(5, "nfs2", moving=True), "looks": BACK, "unseen": {}, "down": False} | changes
    )
    assert plan_failover(seen, Request()).takes_over


CLAIMED = {**BACK, "nfs2": look("nfs2", Role.TAKING_OVER, 5)}


@pytest.mark.parametrize(("down", "asked"), [(False, False), (True, True), (False, True)])
def test_what_was_only_claimed_is_withdrawn_when_the_server_is_back(down: bool, asked: bool) -> None:
    seen = gone(ledger=Ledger(5, "nfs2", moving=True), looks=CLAIMED, unseen={}, down=down)
    plan = plan_failover(seen, Request(withdraw=asked))
    assert (plan.takes_over, plan.withdraws, plan.rewrites, plan.loss) == (False, True, True, None)
    assert [(where, what.partition(":")[0]) for where, what in plan.steps] == [
        ("nfs2", "withdraw its claim of epoch 5"),
        ("inventory", "nfs1 is the server of share files, nfs2 its standby"),
    ]
    assert (plan.new, plan.epoch, plan.nodes) == ("nfs1", 4, ())
    assert plan_failover(seen, Request(although_it_answers=True)).takes_over
    assert plan_failover(seen, Request(although_it_answers=True, withdraw=True)).withdraws
    withdrawn = replace(seen, ledger=Ledger(4, "nfs1"), looks=BACK, down=False)
    assert not plan_failover(withdrawn, Request())


@pytest.mark.parametrize(
    ("ledger", "looks"),
    [
        (Ledger(4, "nfs1"), BACK),
        (Ledger(5, "nfs2", moving=True), {**CLAIMED, "nfs1": look("nfs1", Role.FENCED, 4)}),
        (Ledger(5, "nfs2", moving=True), {**BACK, "nfs2": look("nfs2", Role.PRIMARY, 5)}),
        (
            Ledger(5, "nfs2", moving=True),
            {**BACK, "nfs2": look("nfs2", Role.TAKING_OVER, 5, table=EXPORTS)},
        ),
    ],
)
def test_what_was_not_begun_or_has_gone_too_far_is_not_withdrawn(ledger: Ledger, looks: Any) -> None:
    with pytest.raises(PlanRefused, match="no failover of share files can be withdrawn"):
        plan_failover(gone(ledger=ledger, looks=looks, unseen={}), Request(withdraw=True))


def died(server: Any, **changes: Any) -> Any:
    """Its standby was about to take over, and is gone before it served; `server` is what is left."""
    fields = {"ledger": Ledger(5, "nfs2", moving=True), "looks": {"nfs1": server}, "unseen": {"nfs2": "off"}}
    return gone(**fields, lag=None, **changes)


@pytest.mark.parametrize("role", [Role.FENCED, Role.PRIMARY])
def test_a_server_whose_successor_died_before_it_served_serves_again_and_loses_nothing(role: Role) -> None:
    seen = died(look("nfs1", role, 4))
    with pytest.raises(PlanRefused, match="gone for good, put its name into fenced_by_hand: nfs1 serves"):
        plan_failover(seen, Request())
    plan = plan_failover(seen, Request(fenced_by_hand="nfs2"))
    assert (plan.old, plan.new, plan.epoch, plan.loss) == ("nfs2", "nfs1", 6, None)
    assert (plan.takes_over, plan.claims, plan.returns, plan.rewrites) == (True, True, True, False)
    assert [where for where, _ in plan.steps] == ["nfs1", "nfs2", "nfs1", *NODES]


def test_its_return_is_finished_wherever_it_ended_and_only_by_that_servers_word() -> None:
    for server, claims in (
        (look("nfs1", Role.FENCED, 4), True),
        (look("nfs1", Role.TAKING_OVER, 6), False),
        (look("nfs1", Role.PRIMARY, 6, table=EXPORTS), False),
    ):
        seen = replace(died(server), ledger=Ledger(6, "nfs1", moving=True))
        plan = plan_failover(seen, Request(fenced_by_hand="nfs2"))
        assert (plan.epoch, plan.new, plan.claims, plan.loss) == (6, "nfs1", claims, None)
        with pytest.raises(PlanRefused, match="it is nfs2 that has to be"):
            plan_failover(seen, Request(fenced_by_hand="nfs1"))


def test_a_successor_that_can_be_read_is_not_given_up() -> None:
    seen = died(look("nfs1", Role.FENCED, 4))
    both = {**seen.looks, "nfs2": look("nfs2", Role.TAKING_OVER, 5)}
    with pytest.raises(PlanRefused, match="it is nfs1 that has to be"):
        plan_failover(replace(seen, looks=both, unseen={}, lag=30.0), Request(fenced_by_hand="nfs2"))
