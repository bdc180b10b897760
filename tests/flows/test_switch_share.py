"""A switch that fails goes back as long as the new server was not told that it serves, and not after that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prefect import flow

from flows import switch_share
from tasks.errors import PackmasterError
from tasks.failover import Ledger, SwitchPlan
from tasks.outcome import Outcome, Outcomes
from tasks.steps import host_task
from tests.failover.scene import NEW, NODES, OLD, SHARE, gone

pytestmark = pytest.mark.usefixtures("prefect_server")

MOVING = Ledger(5, "nfs2", moving=True)


def promoting(*after: Outcome) -> Outcomes:
    return Outcomes((Outcome("nfs2", "stop copying"), *after))


@pytest.mark.parametrize(
    ("claimed", "promoted", "withdrawn", "goes_back"),
    [
        (False, None, True, True),
        (True, promoting(Outcome("nfs2", "open disk", error="read-only")), True, True),
        (True, promoting(Outcome("nfs2", "record", error="no answer")), True, False),
        (
            True,
            promoting(Outcome("nfs2", "record"), Outcome("nfs2", "export share", error="no")),
            True,
            False,
        ),
        (False, None, False, False),
    ],
)
def test_it_goes_back_unless_the_new_server_may_be_used(
    monkeypatch: pytest.MonkeyPatch,
    claimed: bool,
    promoted: Outcomes | None,
    withdrawn: bool,
    goes_back: bool,
) -> None:
    @host_task("record", run_name="record", retries=0)
    def set_record(server: Any, *_: Any) -> Outcome:
        if not claimed:
            raise PackmasterError("no answer")
        return Outcome(server.name, "record")

    @host_task("withdraw", run_name="withdraw", retries=0)
    def withdraw_claim(server: Any, *_: Any) -> Outcome:
        if not withdrawn:
            raise PackmasterError("no answer")
        return Outcome(server.name, "withdraw")

    written: list[Ledger] = []
    monkeypatch.setattr(switch_share, "set_record", set_record)
    monkeypatch.setattr(switch_share, "withdraw_claim", withdraw_claim)
    monkeypatch.setattr(switch_share, "promote", lambda *_: promoted)
    monkeypatch.setattr(switch_share, "write_ledger", lambda _, before, after: written.append(after))
    monkeypatch.setattr(switch_share, "go_back", lambda *_: Outcomes((Outcome("nfs1", "export share"),)))
    circle: Any = SimpleNamespace(share=SHARE)
    share: Any = SHARE
    plan = SwitchPlan("files", OLD.name, NEW.name, 5, NODES)

    @flow
    def run() -> Outcomes:
        return switch_share.exchange(share, circle, gone(), plan, MOVING)

    outcomes = run()
    assert outcomes.failed
    assert (("nfs1", "export share") in {(one.host, one.step) for one in outcomes}) is goes_back
    assert written == ([MOVING, Ledger(4, "nfs1")] if goes_back else [MOVING])
    assert ("failover-share" in str([one.error for one in outcomes.failed])) is not goes_back
