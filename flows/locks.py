"""Two flows never work on the same server or database at once.

A lock is a Prefect global concurrency limit of one slot, held through a lease that the holder renews: when a
worker dies, nobody renews, and the lock is free again LEASE_SECONDS later. Locks are per machine and not per
cluster, for one server may be a member of several targets; all are taken in one request, so none deadlock.

A limit is also a thing that a person can delete, widen or switch off in the UI. Prefect lets whoever asks for
several limits in when one of them is there, and one who holds a limit that is deleted never learns of it. So
every run writes down as a label which limits it holds, by when they were made, and looks after it was let in:
were they there all the time, and does anybody still hold an older one of the same name?
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists
from prefect.runtime import flow_run as this_run

from tasks.errors import Unreachable
from tasks.fleet import Database, Target

PREFIX = "packmaster"
KINDS = ("server", "share", "database")
LABEL = "packmaster.locks"
LEASE_SECONDS = 60.0
WAIT_SECONDS = 1800.0
LOOK_SECONDS = 1.0
# A run that was waited for so long may have deployed; where none was seen, the seconds are those of a slow
# server, up to so many that one may have come and gone unseen.
OVERTAKEN_SECONDS, UNSEEN_SECONDS = 5.0, 30.0
# The most that the server gives at once.
PAGE = 200

Limits = Mapping[str, GlobalConcurrencyLimitResponse]


@contextmanager
def hold(target: Target, *databases: Database) -> Generator[bool]:
    """Hold the locks of every machine of `target` and of the databases while the block runs.

    Waits up to WAIT_SECONDS, saying for what and for whom; then raises Unreachable. The block is told whether
    another run may have changed these machines since it was asked for. Losing the lease ends the flow.
    """
    names = [lock_name("server", machine.name) for machine in target.machines]
    names += [lock_name("share", target.share.name)] if target.share else []
    names += [lock_name("database", database.name) for database in databases]
    began = time.monotonic()
    with ExitStack() as held:
        with get_client(sync_client=True) as client:
            behind = _take(held, client, sorted(set(names)), target.name)
        yield time.monotonic() - began > (OVERTAKEN_SECONDS if behind else UNSEEN_SECONDS)


def is_at_work(share: str) -> bool:
    """Whether some run, be it this one, holds the lock of the share."""
    with get_client(sync_client=True) as client:
        limit = read_limits(client).get(lock_name("share", share))
    return limit is not None and limit.active_slots > 0


def lock_name(kind: str, name: str) -> str:
    """The name of the concurrency limit that guards a server, share or database."""
    return f"{PREFIX}-{kind}-{name}"


def read_limits(client: SyncPrefectClient) -> dict[str, GlobalConcurrencyLimitResponse]:
    """Every concurrency limit of the server by name."""
    existing: dict[str, GlobalConcurrencyLimitResponse] = {}
    while page := client.read_global_concurrency_limits(limit=PAGE, offset=len(existing)):
        existing |= {limit.name: limit for limit in page}
        if len(page) < PAGE:
            break
    return existing


def find_stuck(client: SyncPrefectClient) -> tuple[str, ...]:
    """The locks that are taken, and that no run which goes on has written down.

    Looked at twice: a run writes a moment after it took them, and may end between two questions.
    """
    stuck = _list_unheld(client)
    if stuck:
        time.sleep(LOOK_SECONDS)
        stuck &= _list_unheld(client)
    return tuple(sorted(stuck))


def _list_unheld(client: SyncPrefectClient) -> set[str]:
    ours = tuple(f"{PREFIX}-{kind}-" for kind in KINDS)
    limits = read_limits(client).items()
    taken = {name for name, limit in limits if name.startswith(ours) and limit.active_slots}
    return taken - {name for _, name, _ in _list_holders(client)}


def _take(held: ExitStack, client: SyncPrefectClient, names: list[str], about: str) -> bool:
    """The locks are held, by nobody else, until `held` is closed; raises Unreachable when that is late.

    Returns whether another run had one of them.
    """
    ends = time.monotonic() + WAIT_SECONDS
    behind = False
    while True:
        limits = _ensure_exclusive(client, names)
        behind = behind or any(limit.active_slots for limit in limits.values())
        get_run_logger().info("waiting for the locks of %s", _describe(client, limits))
        with ExitStack() as attempt:
            try:
                attempt.enter_context(_acquire(names, about, ends))
                _note(client, limits)
                if _are_intact(client, limits, slots=1):
                    behind = _outwait(client, limits, about, ends) or behind
                    held.enter_context(attempt.pop_all())
                    return behind
            except ConcurrencySlotAcquisitionError:
                if _are_intact(client, limits, slots=0):
                    raise
        behind = True
        _note(client, {})
        get_run_logger().warning("a lock was deleted or changed meanwhile, so it is asked for anew")


@contextmanager
def _acquire(names: list[str], about: str, ends: float) -> Generator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(
                concurrency(
                    names,
                    occupy=1,
                    timeout_seconds=max(ends - time.monotonic(), LOOK_SECONDS),
                    lease_duration=LEASE_SECONDS,
                    strict=True,
                    raise_on_lease_renewal_failure=True,
                )
            )
        except TimeoutError as late:
            raise _late(about, f"another run held a lock of {', '.join(names)}") from late
        yield


def _ensure_exclusive(client: SyncPrefectClient, names: Iterable[str]) -> Limits:
    """Make sure that each limit is there and lets exactly one in, and only while it is held."""
    existing = read_limits(client)
    for name in names:
        limit = existing.get(name)
        if limit is None:
            with suppress(ObjectAlreadyExists):
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
            existing[name] = client.read_global_concurrency_limit_by_name(name)
        elif limit.limit != 1 or not limit.active:
            change = GlobalConcurrencyLimitUpdate(limit=1, active=True)
            client.update_global_concurrency_limit(name, change)
    return {name: existing[name] for name in names}


def _are_intact(client: SyncPrefectClient, limits: Limits, *, slots: int) -> bool:
    """Whether each limit is still the one that it was, lets one in, and `slots` of it are taken at least."""
    now = read_limits(client)
    found = [(limit.id, now[name]) for name, limit in limits.items() if name in now]
    return len(found) == len(limits) and all(
        limit.id == known and limit.active and limit.limit == 1 and limit.active_slots >= slots
        for known, limit in found
    )


def _note(client: SyncPrefectClient, limits: Limits) -> None:
    """The run's label says what it holds, and how old that is."""
    ages = {name: limit.created.timestamp() for name, limit in limits.items() if limit.created}
    client.update_flow_run_labels(UUID(this_run.get_id()), {LABEL: json.dumps(ages)})


def _outwait(client: SyncPrefectClient, limits: Limits, about: str, ends: float) -> bool:
    """No other run holds a limit of these names that was deleted before ours was made; whether one did."""
    told = False
    while runs := {run.name for run, name, age in _list_holders(client) if _is_older(age, limits.get(name))}:
        reason = f"its lock was deleted while {', '.join(sorted(runs))} held it and is at work"
        if time.monotonic() > ends:
            raise _late(about, reason)
        if not told:
            get_run_logger().warning("waiting on: %s", reason)
        told = True
        time.sleep(LOOK_SECONDS)
    return told


def _is_older(age: float, limit: GlobalConcurrencyLimitResponse | None) -> bool:
    return limit is not None and limit.created is not None and age < limit.created.timestamp()


def _describe(client: SyncPrefectClient, limits: Limits) -> str:
    """The names, and of those that are taken, by whom."""
    text = ", ".join(limits)
    busy = {name for name, limit in limits.items() if limit.active_slots}
    if not busy:
        return text
    held = [f"{name} is held by the run {run.name}" for run, name, _ in _list_holders(client) if name in busy]
    return "; ".join([text, *held])


def _list_holders(client: SyncPrefectClient) -> Iterator[tuple[FlowRun, str, float]]:
    """Every other run that has not ended, with the name and the age of each limit that it wrote down."""
    types = [StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING]
    alive = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=types)))
    seen = 0
    while page := client.read_flow_runs(flow_run_filter=alive, limit=PAGE, offset=seen):
        seen += len(page)
        for run in page:
            if str(run.id) != this_run.get_id():
                noted = json.loads(str(run.labels.get(LABEL) or "{}"))
                yield from ((run, name, age) for name, age in noted.items())
        if len(page) < PAGE:
            break


def _late(about: str, reason: str) -> Unreachable:
    return Unreachable(about, f"{reason} for {WAIT_SECONDS:.0f} s")
