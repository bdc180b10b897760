"""Two flows never work on the same server or database at once.

A lock is a Prefect global concurrency limit of one slot, held through a lease that the holder renews: when a
worker dies, nobody renews, and the lock is free again LEASE_SECONDS later. Locks are per machine and not per
cluster, for one server may be a member of several targets; all are taken in one request, so none deadlock.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists

from tasks.errors import Unreachable
from tasks.fleet import Database, Target

PREFIX = "packmaster"
KINDS = ("server", "share", "database")
LEASE_SECONDS = 60.0
WAIT_SECONDS = 1800.0
# The most that the server gives at once.
PAGE = 200


@contextmanager
def hold(target: Target, *databases: Database) -> Generator[None]:
    """Hold the locks of every machine of `target` and of the databases while the block runs.

    Waits up to WAIT_SECONDS, saying for what; then raises Unreachable. Losing the lease ends the flow.
    """
    names = [lock_name("server", machine.name) for machine in target.machines]
    names += [lock_name("share", target.share.name)] if target.share else []
    names += [lock_name("database", database.name) for database in databases]
    names = sorted(set(names))
    _ensure_exclusive(names)
    get_run_logger().info("waiting for the locks of %s", ", ".join(names))
    with ExitStack() as held:
        try:
            held.enter_context(
                concurrency(
                    names,
                    occupy=1,
                    timeout_seconds=WAIT_SECONDS,
                    lease_duration=LEASE_SECONDS,
                    strict=True,
                    raise_on_lease_renewal_failure=True,
                )
            )
        except TimeoutError as late:
            reason = f"another run held a lock of {', '.join(names)} for {WAIT_SECONDS:.0f} s"
            raise Unreachable(target.name, reason) from late
        yield


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


def _ensure_exclusive(names: list[str]) -> None:
    """Make sure that each limit lets exactly one in, and only while it is held.

    `strict` refuses a missing limit, and without it anyone would be let in. One that somebody made inactive,
    or wider, in the UI would let anyone in as well.
    """
    with get_client(sync_client=True) as client:
        existing = read_limits(client)
        for name in sorted(set(names)):
            limit = existing.get(name)
            if limit is None:
                with suppress(ObjectAlreadyExists):
                    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
            elif limit.limit != 1 or not limit.active:
                change = GlobalConcurrencyLimitUpdate(limit=1, active=True)
                client.update_global_concurrency_limit(name, change)
