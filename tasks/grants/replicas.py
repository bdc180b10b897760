"""What the writer has must be on every other node of the database too: a grant that is not there is none.

Replicas are late, and members of a Galera cluster have been seen without grants while all looked well.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing

from tasks.errors import Drift
from tasks.fleet import Database
from tasks.grants.connection import open_admin
from tasks.grants.drift import GrantDrift, find_drift
from tasks.grants.facts import read_grant_facts
from tasks.grants.values import Desired, GrantFacts
from tasks.outcome import Outcome

LAG_SECONDS = 15
_PAUSE_SECONDS = 0.5


def compare_replica(replica: Database, desired: Sequence[Desired], actual: GrantFacts) -> GrantDrift:
    """Return what `actual`, the facts of the writer, has right and the replica has not: REPLICA_MISSING."""
    with closing(open_admin(replica)) as connection:
        facts = read_grant_facts(connection, replica.name)
    drift = find_drift(desired, actual, {replica.name: facts})
    rows = tuple(row for row in drift.rows if row.kind == "REPLICA_MISSING")
    return GrantDrift(rows, drift.sites)


def wait_for_replica(
    replica: Database, desired: Sequence[Desired], actual: GrantFacts, *, seconds: float = LAG_SECONDS
) -> Outcome:
    """The replica has what the writer has; it may take `seconds` to get there.

    Raises Drift that says what is missing, Unreachable and AccessDenied.
    """
    ends = time.monotonic() + seconds
    while drift := compare_replica(replica, desired, actual):
        if time.monotonic() > ends:
            raise Drift(f"{replica.name} has not all that the writer has: {drift.rows[0].detail}\n{drift}")
        time.sleep(_PAUSE_SECONDS)
    return Outcome(replica.name, "check replica", detail="has the grants of its writer")
