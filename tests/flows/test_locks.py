"""Two flows never hold the same machine at once, and a dead holder does not hold it for ever."""

import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.states import Completed, Running
from pydantic import SecretStr

from flows import locks
from flows.locks import find_stuck, hold, is_at_work, lock_name
from tasks.errors import Unreachable
from tasks.fleet import Database, Machine, Node, Share, Target
from tests.logs import wait_for_log

pytestmark = pytest.mark.usefixtures("prefect_server")

ROOT = Path(__file__).resolve().parents[2]


def make_target(name: str, *nodes: str) -> Target:
    key = SecretStr("key")
    return Target(name, tuple(Node(node, "192.0.2.1", "apache", key, ("ssh-ed25519 A",)) for node in nodes))


def make_database(name: str) -> Database:
    return Database(name, "192.0.2.20", "packmaster", SecretStr("password"))


def read_slots(name: str) -> tuple[int, int]:
    with get_client(sync_client=True) as client:
        limit = client.read_global_concurrency_limit_by_name(name)
        return limit.limit, limit.active_slots


@flow
def hold_and_look(target: Target, *databases: Database) -> list[tuple[int, int]]:
    names = [lock_name("server", node.name) for node in target.nodes]
    names += [lock_name("database", database.name) for database in databases]
    with hold(target, *databases):
        return [read_slots(name) for name in names]


def test_every_machine_is_held_and_let_go() -> None:
    target, database = make_target("lock-a", "lock-a1", "lock-a2"), make_database("lock-a-db")
    assert hold_and_look(target, database) == [(1, 1), (1, 1), (1, 1)]
    assert read_slots(lock_name("server", "lock-a1")) == (1, 0)
    assert read_slots(lock_name("database", "lock-a-db")) == (1, 0)
    # A second run finds the limits there.
    assert hold_and_look(target, database) == [(1, 1), (1, 1), (1, 1)]


def test_it_is_seen_whether_a_run_is_at_work_on_a_share() -> None:
    @flow
    def work() -> bool:
        with hold(make_pack("s", "lock-s1", "lock-s2", "lock-s")):
            return is_at_work("lock-s")

    assert not is_at_work("lock-s")
    assert work()
    assert not is_at_work("lock-s")


def test_a_server_named_twice_is_held_once() -> None:
    assert hold_and_look(make_target("lock-b", "lock-b1", "lock-b1")) == [(1, 1), (1, 1)]


def test_the_lock_is_let_go_when_the_flow_fails() -> None:
    @flow
    def fail() -> None:
        with hold(make_target("lock-c", "lock-c1")):
            raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        fail()
    assert read_slots(lock_name("server", "lock-c1")) == (1, 0)


def test_a_second_flow_waits_its_time_and_says_for_what(monkeypatch: pytest.MonkeyPatch) -> None:
    @flow
    def hold_twice() -> None:
        # The two targets share one server, as two clusters may.
        with hold(make_target("lock-d", "lock-d1", "lock-d2")):
            monkeypatch.setattr(locks, "WAIT_SECONDS", 1.0)
            with hold(make_target("lock-e", "lock-d2", "lock-d3")):
                pytest.fail("two flows were let in")

    with pytest.raises(Unreachable, match="packmaster-server-lock-d2"):
        hold_twice()
    # The one that had to wait took nothing meanwhile.
    assert read_slots(lock_name("server", "lock-d3")) == (1, 0)


def test_a_run_is_told_of_whoever_was_there_before_it_and_not_of_a_slow_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held = threading.Event()
    monkeypatch.setattr(locks, "OVERTAKEN_SECONDS", 0.0)

    @flow
    def be_first() -> bool:
        with hold(make_target("lock-o", "lock-o1")) as overtaken:
            held.set()
            wait_for_log(caplog, "is held by the run")
            return overtaken

    @flow
    def be_second() -> bool:
        with hold(make_target("lock-p", "lock-o1")) as overtaken:
            return overtaken

    with ThreadPoolExecutor() as threads:
        first = threads.submit(be_first)
        assert held.wait(30)
        assert be_second()
        assert not first.result(30)
    assert not be_second()
    monkeypatch.setattr(locks, "UNSEEN_SECONDS", 0.0)
    assert be_second()


def make_pack(name: str, master: str, slave: str, share: str) -> Target:
    nodes = make_target(name, master, slave).nodes
    server = Machine(f"lock-nfs-{name}", "192.0.2.3", "nfs", SecretStr("key"), ("ssh-ed25519 A",))
    return Target(name, nodes, master, Share(share, server, server.address, "/srv/c", "/srv/d"))


# What two runs have in common and nothing else: a server, a database, the share of two packs.
IN_COMMON: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "a server": (
        (make_target("one", "lock-f1", "lock-f2"),),
        (make_target("two", "lock-f2", "lock-f3"),),
    ),
    "a database": (
        (make_target("one", "lock-f4"), make_database("lock-f")),
        (make_target("two", "lock-f5"), make_database("lock-f")),
    ),
    "a share": (
        (make_pack("one", "lock-f6", "lock-f7", "lock-f"),),
        (make_pack("two", "lock-f8", "lock-f9", "lock-f"),),
    ),
    "a pack and its slave": (
        (make_pack("three", "lock-f10", "lock-f11", "lock-g"),),
        (make_target("two", "lock-f11"),),
    ),
}


def test_runs_with_one_thing_in_common_come_one_after_the_other() -> None:
    times: dict[str, list[tuple[float, float]]] = {what: [] for what in IN_COMMON}

    @flow
    def work(what: str, target: Target, *databases: Database) -> None:
        with hold(target, *databases):
            begun = time.monotonic()
            time.sleep(0.3)
            times[what].append((begun, time.monotonic()))

    runs = [(what, *run) for what, both in IN_COMMON.items() for run in both]
    threads = [threading.Thread(target=work, args=run) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    for what, intervals in times.items():
        (_, first_ended), (second_begun, _) = sorted(intervals)
        assert first_ended <= second_begun, what


@pytest.mark.parametrize("again", [False, True], ids=["deleted", "deleted and made again"])
def test_a_deleted_limit_lets_nobody_in(again: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Neither one who waits for it, and for another beside it, nor one who comes when it is there again."""
    times: dict[str, tuple[float, float]] = {}
    held, let_go = threading.Event(), threading.Event()
    deleted, other = f"lock-h1-{again}", f"lock-h2-{again}"

    @flow(flow_run_name="run {name}")
    def work(name: str, *nodes: str) -> None:
        with hold(make_target(name, *nodes)):
            begun = time.monotonic()
            if name == "one":
                held.set()
                let_go.wait(60)
            times[name] = begun, time.monotonic()

    one = threading.Thread(target=work, args=("one", deleted))
    two = threading.Thread(target=work, args=("two", deleted, other))
    one.start()
    assert held.wait(30)
    with get_client(sync_client=True) as client:
        if not again:
            two.start()
            wait_for_log(caplog, f"packmaster-server-{deleted} is held by the run run one")
        client.delete_global_concurrency_limit_by_name(lock_name("server", deleted))
        if again:
            fresh = GlobalConcurrencyLimitCreate(name=lock_name("server", deleted), limit=1)
            client.create_global_concurrency_limit(fresh)
            two.start()
    wait_for_log(caplog, "its lock was deleted while run one held it and is at work")
    assert not times, "let in beside the one who was there"
    let_go.set()
    one.join(30)
    two.join(30)
    assert times["one"][1] <= times["two"][0]


def test_a_lock_is_stuck_when_no_run_that_goes_on_wrote_it_down() -> None:
    """As after a restart of a server that keeps leases in its memory."""

    @flow
    def forgotten() -> None: ...

    lock = lock_name("server", "lock-stuck")
    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=lock, limit=1))
        assert lock not in find_stuck(client)
        client.update_global_concurrency_limit(lock, GlobalConcurrencyLimitUpdate(active_slots=1))
        run = client.create_flow_run(forgotten, state=Running())
        client.update_flow_run_labels(run.id, {locks.LABEL: json.dumps({lock: 1.0})})
        assert lock not in find_stuck(client)
        client.set_flow_run_state(run.id, Completed(), force=True)
        assert lock in find_stuck(client)
        client.delete_global_concurrency_limit_by_name(lock)


HOLDER = """
import time
from prefect import flow
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from pydantic import SecretStr
from flows.locks import hold
from tasks.fleet import Node, Target

@flow
def hold_for_ever():
    with hold(Target("t", (Node("lock-g1", "192.0.2.1", "apache", SecretStr("k"), ()),))):
        print("held", flush=True)
        time.sleep(600)

with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
    hold_for_ever()
"""


# Prefect takes no lease of less than a minute, which is all that the unit tests have.
@pytest.mark.nodes
# Prefect takes no lease of less than a minute, which is all that the unit tests have.
@pytest.mark.nodes
def test_a_killed_holder_is_forgotten_after_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    script = HOLDER.replace(
        "from flows.locks import hold", "from flows import locks; from flows.locks import hold"
    )
    holder = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert any("held" in line for line in iter(holder.stdout.readline, ""))
    holder.send_signal(signal.SIGKILL)
    holder.wait(10)
    assert read_slots(lock_name("server", "lock-g1")) == (1, 1)
    started = time.monotonic()
    monkeypatch.setattr(locks, "WAIT_SECONDS", 2 * locks.LEASE_SECONDS)
    assert hold_and_look(make_target("lock-g", "lock-g1")) == [(1, 1)]
    assert time.monotonic() - started < 2 * locks.LEASE_SECONDS
