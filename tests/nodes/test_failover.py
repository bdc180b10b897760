"""A share moves between its servers, on real machines, under load. Each test begins where the last ended."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from blocks import Pack
from flows.failover_share import failover_share
from flows.ledger import read_ledger
from flows.provision_pack import provision_pack
from flows.rejoin_standby import rejoin_standby
from flows.switch_share import switch_share
from flows.sync_standby import sync_standby
from tasks.failover import Ledger
from tests.nodes.failing import NODES, SHARE, Failing, failing
from tests.nodes.fleet import change_nothing, fail, fleet, outcome_of, succeed, wait_until

__all__ = ["failing", "fleet"]

ROOT = Path(__file__).resolve().parents[2]
# Dies by signal 9 as soon as it comes to the function that it is told.
CHILD = """
import os, signal, sys
from importlib import import_module
from blocks import Share
from flows.failover_share import failover_share
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
module, name = sys.argv[2].rsplit(".", 1)
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
class Deadly:
    submit = staticmethod(die)
    __call__ = staticmethod(die)
setattr(import_module(module), name, Deadly())
with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
    failover_share(share=Share.load(sys.argv[1]), automatic=True, return_state=True)
"""
MOMENTS = (
    "flows.failover_share.claim_and_fence",
    "flows.failover_share.fence_server",
    "flows.failover_share.promote",
    "flows.takeover.write_tokens",
    "flows.failover_share.register",
    "flows.failover_share.move",
)


def one_writable(failing: Failing) -> str:
    """The only server that exports, or nothing; two fail the test."""
    alive = [name for name in ("nfs1", "nfs2") if name not in failing.bed.broken]
    found = [name for name in alive if failing.exported(name)]
    assert len(found) < 2, found
    return found[0] if found else ""


def approve(failing: Failing, **answer: str) -> None:
    """What a person does in the UI, through the API."""
    body = {"run_input": {"approve": "yes", **answer}}
    wanted = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}}

    def resume() -> bool:
        runs = failing.fleet.api.post("/flow_runs/filter", json=wanted).json()
        answers = [failing.fleet.api.post(f"/flow_runs/{run['id']}/resume", json=body) for run in runs]
        return any(one.is_success and one.json()["status"] == "ACCEPT" for one in answers)

    wait_until(resume, 90)


def show(failing: Failing) -> str:
    return "\n".join(failing.fleet.lines(f"timeline-{SHARE}"))


def check_loss(failing: Failing, server: str, bound: float, since: float) -> None:
    """Everybody goes on writing; what is missing was acknowledged within `bound` seconds of `since`."""
    time.sleep(2)
    acked = failing.stop()
    for name, pairs in failing.lost(server, acked).items():
        assert acked[name][-1][1] > since, f"{name} does not write any more"
        assert all(since - bound <= when for _, when in pairs), pairs


def test_a_provided_pack_has_an_epoch_and_a_standby(failing: Failing) -> None:
    assert (failing.role("nfs1"), failing.role("nfs2")) == ("1 primary", "1 standby")
    assert read_ledger(SHARE) == Ledger(1, "nfs1")
    assert "never got a whole copy" in fail(failover_share, share=failing.share, although_it_answers=True)
    change_nothing(failover_share, share=failing.share)
    succeed(sync_standby, share=failing.share)
    # One that only the controller cannot reach is not gone.
    failing.bed.drop_port("nfs1", 2049, failing.bed.controller)
    change_nothing(failover_share, share=failing.share)
    failing.bed.restore("nfs1")


def test_a_failover_that_is_killed_between_any_two_steps_is_finished(failing: Failing) -> None:
    failing.set_share(automatic_failover=True)
    failing.bed.power_off("nfs1")
    for moment in MOMENTS:
        child = subprocess.run(
            [sys.executable, "-c", CHILD, SHARE, moment],
            cwd=ROOT, env=os.environ.copy(), timeout=120, check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert child.returncode == -9, (moment, child.stdout[-3000:], child.stderr[-3000:])
        failing.release_locks()
        one_writable(failing)
    succeed(failover_share, share=failing.share, automatic=True)
    assert read_ledger(SHARE) == Ledger(2, "nfs2")
    assert failing.share.server.name == "nfs2"
    assert [failing.sources(name) for name in NODES] == [{"nfs2"}] * 3
    change_nothing(failover_share, share=failing.share)


def test_a_server_that_was_replaced_exports_nothing_when_it_boots(failing: Failing) -> None:
    failing.bed.power_on("nfs1")
    wait_until(lambda: failing.role("nfs1") == "1 fenced", 60)
    assert one_writable(failing) == "nfs2"
    # An old inventory file that is applied again makes nobody export there, either.
    failing.share.exchange_servers()
    assert "since epoch 2 it is nfs2" in fail(provision_pack, pack=Pack.get(SHARE, "a test"))
    succeed(failover_share, share=failing.share)
    assert failing.share.server.name == "nfs2"


def test_a_planned_switch_loses_nothing(failing: Failing) -> None:
    succeed(rejoin_standby, share=failing.share)
    failing.load()
    time.sleep(2)
    since = time.time()
    outcomes = succeed(switch_share, share=failing.share)
    print(show(failing), [str(outcome) for outcome in outcomes if outcome.step == "switch"])
    check_loss(failing, "nfs1", 0, since)
    assert one_writable(failing) == "nfs1"
    assert (failing.role("nfs1"), failing.role("nfs2")) == ("3 primary", "3 standby")


def test_a_person_approves_and_a_node_that_cannot_be_reached_is_named(failing: Failing) -> None:
    container = f"{failing.bed.project}-slave2"
    failing.load("master1", "slave1")
    succeed(sync_standby, share=failing.share)
    since = time.time()
    time.sleep(2)
    subprocess.run(["docker", "pause", container], check=True, capture_output=True)
    try:
        failing.bed.power_off("nfs1")
        approving = threading.Thread(target=approve, args=(failing,))
        approving.start()
        said = fail(failover_share, share=failing.share)
        approving.join()
    finally:
        subprocess.run(["docker", "unpause", container], check=True, capture_output=True)
    print(show(failing))
    assert "1 host(s) failed" in said
    assert "slave2" in said
    assert one_writable(failing) == "nfs2"
    check_loss(failing, "nfs2", 3600, since)
    assert failing.sources("slave2") == {"nfs1"}
    succeed(failover_share, share=failing.share)
    assert failing.sources("slave2") == {"nfs2"}


def test_a_server_that_hangs_is_fenced_over_ssh_and_of_two_failovers_one_is_done(failing: Failing) -> None:
    failing.bed.mend()
    succeed(rejoin_standby, share=failing.share)
    failing.bed.drop_port("nfs2", 2049)
    states: list[Any] = []

    def run() -> None:
        states.append(failover_share(share=failing.share, automatic=True, return_state=True))

    both = [threading.Thread(target=run) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    details = {outcome.step: outcome.detail for state in states for outcome in outcome_of(state)}
    assert "over SSH" in details["fence"], details
    assert sorted(state.message.startswith("Nothing changed") for state in states) == [False, True]
    failing.bed.mend()
    assert read_ledger(SHARE) == Ledger(5, "nfs1")
    assert one_writable(failing) == "nfs1"


def test_what_cannot_be_fenced_or_lost_is_refused_and_the_server_comes_back_by_itself(
    failing: Failing,
) -> None:
    succeed(rejoin_standby, share=failing.share)
    failing.set_fence("nfs1")
    failing.bed.power_off("nfs1")
    assert "no fence command" in fail(failover_share, share=failing.share, automatic=True)
    approving = threading.Thread(target=approve, args=(failing,))
    approving.start()
    said = fail(failover_share, share=failing.share)
    approving.join()
    assert "not seen to be out of action" in said
    assert (one_writable(failing), failing.role("nfs2")) == ("", "5 standby")
    assert read_ledger(SHARE) == Ledger(5, "nfs1")
    failing.set_share(recovery_point_seconds=1)
    assert "accept_loss_seconds" in fail(failover_share, share=failing.share, automatic=True)
    failing.bed.power_on("nfs1")
    wait_until(lambda: failing.exported("nfs1"), 60)


@pytest.fixture(autouse=True)
def unlocked(failing: Failing) -> Any:
    yield
    failing.release_locks()
