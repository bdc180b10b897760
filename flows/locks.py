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
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists

from tasks.errors import Unreachable
from tasks.fleet import Database, Target

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
    _create_missing(names)
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
    """The name of the concurrency limit that guards a server or database."""
    return f"packmaster-{kind}-{name}"


def _create_missing(names: list[str]) -> None:
    """Make sure each limit exists: `strict` refuses a missing one, and without it anyone would be let in."""
    with get_client(sync_client=True) as client:
        for name in sorted(set(names) - _read_existing(client)):
            with suppress(ObjectAlreadyExists):
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))


def _read_existing(client: SyncPrefectClient) -> set[str]:
    existing: set[str] = set()
    while page := client.read_global_concurrency_limits(limit=PAGE, offset=len(existing)):
        existing |= {limit.name for limit in page}
        if len(page) < PAGE:
            break
    return existing
