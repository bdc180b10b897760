"""A share moves between its servers, on real machines, under load. Each test begins where the last ended."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from blocks import NfsServer, Pack
from flows.check_share import check_share
from flows.failover_share import failover_share
from flows.ledger import read_ledger
from flows.provision_pack import provision_pack
from flows.rejoin_standby import rejoin_standby
from flows.switch_share import switch_share
from flows.sync_standby import sync_standby
from tasks.failover import Ledger
from tests.nodes.failing import DATA, NODES, SHARE, Failing, failing
from tests.nodes.fleet import change_nothing, fail, fleet, outcome_of, succeed, wait_until
from tests.nodes.takeovers import approving, become_two, kill_at, time_line, without_a_person

__all__ = ["failing", "fleet"]

BOOT_SECONDS = 120
# What a plan says in whole seconds, some time after it looked; and clocks of machines beside each other.
ROUNDING_SECONDS = 3
# A client of the share that there is not (RFC 3849).
ELSEWHERE = "2001:db8::7"


def test_a_provided_pack_has_an_epoch_and_a_standby(failing: Failing) -> None:
    assert (failing.role("nfs1"), failing.role("nfs2")) == ("1 primary", "1 standby")
    assert read_ledger(SHARE) == Ledger(1, "nfs1")
    assert "never got a whole copy" in fail(failover_share, share=failing.share, although_it_answers=True)
    change_nothing(failover_share, share=failing.share)
    succeed(sync_standby, share=failing.share)


def test_every_node_serves_a_page_that_is_on_the_share(failing: Failing, tmp_path: Path) -> None:
    failing.serve_page(tmp_path)


def test_a_server_that_only_the_controller_cannot_reach_is_not_gone(failing: Failing) -> None:
    failing.bed.drop_port("nfs1", 2049, failing.bed.controller)
    change_nothing(failover_share, share=failing.share)
    failing.bed.restore("nfs1")


def test_a_failover_is_killed_between_any_two_steps_and_its_server_comes_back(failing: Failing) -> None:
    failing.set_share(automatic_failover=True)
    failing.bed.power_off("nfs1")
    assert check_share(share=failing.share, return_state=True).is_failed()
    wait_until(lambda: "packmaster.share.standby_wanted" in failing.events(), 180)
    kill_at(failing, "flows.failover_share.claim_and_fence")
    failing.bed.power_on("nfs1")
    wait_until(lambda: failing.exported("nfs1"), BOOT_SECONDS)
    assert read_ledger(SHARE) == Ledger(2, "nfs2", moving=True)
    outcome_of(without_a_person(failing))
    assert read_ledger(SHARE) == Ledger(1, "nfs1")
    failing.bed.power_off("nfs1")
    kill_at(failing, "flows.failover_share.fence_server")
    failing.bed.power_on("nfs1")
    wait_until(lambda: failing.waits("nfs1"), BOOT_SECONDS)
    assert failing.one_writable() == ""
    succeed(failover_share, share=failing.share, withdraw=True)
    wait_until(lambda: failing.one_writable() == "nfs1", BOOT_SECONDS)
    assert (read_ledger(SHARE), failing.role("nfs2")) == (Ledger(1, "nfs1"), "1 standby")
    failing.bed.power_off("nfs1")
    for moment in (
        "flows.failover_share.fence_server",
        "flows.failover_share.promote",
        "flows.takeover.write_tokens",
        "flows.failover_share.register",
        "flows.failover_share.move",
    ):
        kill_at(failing, moment)
    outcome_of(without_a_person(failing))
    assert read_ledger(SHARE) == Ledger(2, "nfs2")
    assert failing.share.server.name == "nfs2"
    assert [failing.sources(name) for name in NODES] == [{"nfs2"}] * 3
    change_nothing(failover_share, share=failing.share)


def test_a_server_that_was_replaced_exports_nothing_when_it_boots(failing: Failing) -> None:
    failing.bed.power_on("nfs1")
    wait_until(lambda: failing.role("nfs1") == "1 fenced", BOOT_SECONDS)
    assert failing.one_writable() == "nfs2"
    # An old inventory file that is applied again makes nobody export there, either.
    failing.share.exchange_servers()
    assert "since epoch 2 it is nfs2" in fail(provision_pack, pack=Pack.get(SHARE, "a test"))
    succeed(failover_share, share=failing.share)
    assert failing.share.server.name == "nfs2"


def test_a_standby_that_comes_back_is_killed_between_its_steps(failing: Failing) -> None:
    for moment in ("save_orphans", "enlist"):
        kill_at(failing, f"flows.rejoin_standby.{moment}", "rejoin_standby")
        assert failing.one_writable() == "nfs2"
    succeed(rejoin_standby, share=failing.share)
    assert (failing.role("nfs1"), failing.role("nfs2")) == ("2 standby", "2 primary")


def test_a_planned_switch_loses_nothing_also_when_it_is_killed(failing: Failing) -> None:
    """Before the new server serves, it is its own next run that finishes it."""
    failing.load()
    for moment, serves in (("retire_server", "nfs2"), ("compare", "")):
        kill_at(failing, f"flows.switch_share.{moment}", "switch_share")
        assert failing.one_writable() == serves, moment
    outcomes = succeed(switch_share, share=failing.share)
    print([str(outcome) for outcome in outcomes if outcome.step == "switch"])
    time_line(failing, *NODES)
    assert failing.lost("nfs1") == []
    assert failing.one_writable() == "nfs1"
    assert (failing.role("nfs1"), failing.role("nfs2")) == ("3 primary", "3 standby")


def test_a_switch_that_is_killed_while_nobody_serves_is_finished_by_a_failover(failing: Failing) -> None:
    failing.load()
    kill_at(failing, "flows.switch_share.set_record", "switch_share")
    assert failing.one_writable() == ""
    assert "failover-share" in fail(switch_share, share=failing.share)
    with approving(failing):
        succeed(failover_share, share=failing.share)
    assert failing.lost("nfs2") == []
    assert failing.one_writable() == "nfs2"
    assert [failing.sources(name) for name in NODES] == [{"nfs2"}] * 3
    succeed(rejoin_standby, share=failing.share)


def test_a_person_approves_and_a_node_that_cannot_be_reached_is_named(failing: Failing) -> None:
    failing.load("master1", "slave1")
    succeed(sync_standby, share=failing.share)
    time.sleep(2)
    failing.bed.unplug("slave2")
    failing.bed.power_off("nfs2")
    with approving(failing):
        said = fail(failover_share, share=failing.share)
    failing.bed.plug("slave2")
    time_line(failing, "master1", "slave1")
    assert "1 host(s) failed" in said
    assert "slave2" in said
    assert failing.one_writable() == "nfs1"
    since, told = failing.reported()
    lost = failing.lost("nfs1")
    assert "may be lost" in told
    assert lost, "what was written after the copy cannot be there"
    assert min(lost) > since - ROUNDING_SECONDS, (since, lost)
    assert failing.sources("slave2") == {"nfs2"}
    succeed(failover_share, share=failing.share)
    assert failing.sources("slave2") == {"nfs1"}


def test_a_server_that_hangs_is_fenced_over_ssh_and_of_two_failovers_one_is_done(failing: Failing) -> None:
    failing.bed.mend()
    succeed(rejoin_standby, share=failing.share)
    epoch = read_ledger(SHARE).epoch
    failing.set_share(automatic_failover=True)
    failing.bed.guest("nfs1", f"exportfs -o ro '[{ELSEWHERE}]:{DATA}'")
    failing.bed.drop_port("nfs1", 2049)
    states: list[Any] = []

    def run() -> None:
        states.append(without_a_person(failing))

    both = [threading.Thread(target=run) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    details = {outcome.step: outcome.detail for state in states for outcome in outcome_of(state)}
    assert "over SSH" in details["fence"], details
    assert sorted(state.message.startswith("Nothing changed") for state in states) == [False, True]
    failing.bed.mend()
    assert read_ledger(SHARE) == Ledger(epoch + 1, "nfs2")
    assert failing.one_writable() == "nfs2"


def test_a_server_that_is_cut_off_and_cannot_be_fenced_is_not_replaced(failing: Failing) -> None:
    succeed(rejoin_standby, share=failing.share)
    before = read_ledger(SHARE)
    failing.set_fence("nfs2")
    failing.bed.unplug("nfs2")
    assert "no fence command" in fail(failover_share, share=failing.share, automatic=True)
    with approving(failing):
        assert "not seen to be out of action" in fail(failover_share, share=failing.share)
    assert (failing.one_writable(), failing.role("nfs1")) == ("", f"{before.epoch} standby")
    assert read_ledger(SHARE) == before
    failing.set_share(recovery_point_seconds=1)
    assert "accept_loss_seconds" in fail(failover_share, share=failing.share)
    failing.set_share(recovery_point_seconds=300)


def test_one_that_a_person_says_is_off_ends_its_exports_when_it_hears_of_its_successor(
    failing: Failing,
) -> None:
    epoch = read_ledger(SHARE).epoch
    with approving(failing, fenced_by_hand="nfs2"):
        succeed(failover_share, share=failing.share)
    time_line(failing, *NODES)
    assert failing.one_writable() == "nfs1"
    failing.bed.plug("nfs2")
    wait_until(lambda: failing.role("nfs2") == f"{epoch} fenced", 30)
    wait_until(lambda: not failing.exported("nfs2"), 10)
    assert failing.one_writable() == "nfs1"
    assert [failing.sources(name) for name in NODES] == [{"nfs1"}] * 3


def test_a_power_cut_of_both_servers_needs_nobody(failing: Failing) -> None:
    server, standby = become_two(failing)
    roles = [failing.role(name) for name in (server, standby)]
    failing.bed.power_off(server, standby)
    failing.bed.power_on(server)
    wait_until(lambda: failing.waits(server), BOOT_SECONDS)
    assert failing.one_writable() == ""
    failing.bed.power_on(standby)
    wait_until(lambda: failing.one_writable() == server, BOOT_SECONDS)
    assert [failing.role(name) for name in (server, standby)] == roles


def test_of_two_servers_that_are_off_neither_serves_alone_unless_told_so(failing: Failing) -> None:
    server, standby = become_two(failing)
    epoch = read_ledger(SHARE).epoch + 1
    failing.bed.power_off(server, standby)
    assert "cannot be read" in fail(failover_share, share=failing.share)
    failing.bed.power_on(server)
    wait_until(lambda: failing.waits(server), BOOT_SECONDS)
    assert failing.one_writable() == ""
    # The other one is gone for good. The nodes still waited for their server when they were asked.
    failing.set_share(standby=None)
    assert "Is its NFS server up?" in fail(provision_pack, pack=Pack.get(SHARE, "a test"))
    wait_until(lambda: failing.one_writable() == server, 30)
    for name in NODES:
        listed = "su aegir -s /bin/sh -c 'ls /var/aegir/sites /var/aegir/platforms'"
        failing.bed.guest(name, listed, timeout=120)
    succeed(provision_pack, pack=Pack.get(SHARE, "a test"))
    assert (failing.role(server), read_ledger(SHARE)) == (f"{epoch} primary", Ledger(epoch, server))
    # It was not: it is told so, and exports nothing.
    failing.bed.power_on(standby)
    assert failing.one_writable() == server
    failing.set_share(standby=NfsServer.load(standby))
    succeed(provision_pack, pack=Pack.get(SHARE, "a test"))
    succeed(sync_standby, share=failing.share)
    assert (failing.role(standby), failing.role(server)) == (f"{epoch} standby", f"{epoch} primary")


def test_a_standby_that_dies_before_it_serves_gives_the_share_back_and_nothing_is_lost(
    failing: Failing,
) -> None:
    server, standby = become_two(failing)
    failing.set_share(automatic_failover=True)
    before = read_ledger(SHARE)
    failing.load()
    failing.bed.power_off(server)
    kill_at(failing, "flows.failover_share.promote")
    failing.bed.power_off(standby)
    failing.bed.power_on(server)
    wait_until(lambda: failing.waits(server), BOOT_SECONDS)
    assert "gone for good" in fail(failover_share, share=failing.share)
    with approving(failing):
        succeed(failover_share, share=failing.share, fenced_by_hand=standby)
    assert failing.lost(server) == []
    assert failing.one_writable() == server
    assert read_ledger(SHARE) == Ledger(before.epoch + 2, server)
    assert [failing.sources(name) for name in NODES] == [{server}] * 3
    change_nothing(failover_share, share=failing.share)
    failing.bed.power_on(standby)
    assert failing.one_writable() == server
    succeed(rejoin_standby, share=failing.share)
    assert failing.role(standby) == f"{before.epoch + 2} standby"


@pytest.fixture(autouse=True)
def unlocked(failing: Failing) -> Any:
    yield
    failing.release_locks()
