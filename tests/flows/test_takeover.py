"""What is done beside a promotion neither holds it up nor spoils it."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow

from flows import takeover
from flows.operation import FAN_OUT
from tasks.errors import PackmasterError
from tasks.failover import FailoverPlan
from tasks.outcome import Outcome, Outcomes
from tasks.steps import host_task
from tests.failover.scene import SHARE
from tests.liveness.scene import WATCHED

pytestmark = pytest.mark.usefixtures("prefect_server")


@host_task("let go", run_name="let go on {host}", retries=0)
def let_go(host: str) -> Outcome:
    if host == "odd":
        raise ValueError("a bug")
    if host == "down":
        raise PackmasterError("it does not answer")
    return Outcome(host, "let go")


def test_what_became_of_each_host_is_known_whatever_it_was() -> None:
    @flow
    def run() -> Outcomes:
        return takeover.settle({name: let_go.submit(name) for name in ("odd", "well", "down")}, "let go")

    outcomes = run()
    assert [(one.host, one.ok) for one in outcomes] == [("odd", False), ("well", True), ("down", False)]
    assert "a bug" in (outcomes.items[0].error or "")


def test_a_node_whose_letting_go_broke_is_moved_as_the_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    @host_task("move", run_name="move {host}", retries=0)
    def move_node(host: str, *_: Any) -> Outcome:
        return Outcome(host, "move")

    members = tuple(replace(WATCHED.members[0], name=name) for name in ("odd", "well", "late"))
    circle = SimpleNamespace(
        watched=replace(WATCHED, members=members),
        nodes={one.name: one.name for one in members},
        targets=[""],
        share=SHARE,
    )
    monkeypatch.setattr(takeover, "find_circle", lambda *_: circle)
    monkeypatch.setattr(takeover, "move_node", move_node)
    monkeypatch.setattr(takeover, "find_checks", lambda _: ())

    @flow
    def run() -> Outcomes:
        after = {name: let_go.submit(name) for name in ("odd", "well")}
        share: Any = None
        return takeover.move(share, ["odd", "well", "late"], replaced="192.0.2.99", after=after)

    assert {one.host for one in run() if one.ok} == {"odd", "well", "late"}


def test_however_many_nodes_hang_there_is_a_thread_for_the_promotion(monkeypatch: pytest.MonkeyPatch) -> None:
    members = tuple(replace(WATCHED.members[0], name=f"web{number}") for number in range(100))
    names = tuple(one.name for one in members)
    circle = SimpleNamespace(
        watched=replace(WATCHED, members=members), nodes=dict.fromkeys(names), targets=[""]
    )
    monkeypatch.setattr(takeover, "find_circle", lambda *_: circle)
    monkeypatch.setattr(takeover, "detach_by_force", SimpleNamespace(submit=lambda *_: None))
    share: Any = None
    begun = takeover.detach(share, FailoverPlan("files", "nfs1", "nfs2", 5, names), "192.0.2.99")
    assert 0 < len(begun) < FAN_OUT
