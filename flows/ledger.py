"""The controller's own record of who serves a share: a Prefect variable, changed under the share's lock only.

It is not the inventory, which an old file may put back, and not what servers say, of which one may be gone.
"""

from __future__ import annotations

from prefect.variables import Variable

from tasks.errors import PlanRefused
from tasks.failover import Ledger


def read_ledger(share: str) -> Ledger:
    """What is recorded; epoch 0 for a share that never had a standby."""
    kept = Variable.get(_name(share), default=None)
    if not isinstance(kept, dict):
        return Ledger()
    return Ledger(int(kept["epoch"]), str(kept["server"]), bool(kept.get("moving")))


def write_ledger(share: str, before: Ledger, after: Ledger) -> None:
    """It says `after`, provided that it still says `before`; else raises PlanRefused."""
    now = read_ledger(share)
    if now == after:
        return
    if now != before:
        raise PlanRefused(
            f"the record of share {share} says {now}, and a moment ago it said {before}",
            "Another run is at work on it: see what that does, then run this again",
        )
    kept = {"epoch": after.epoch, "server": after.server, "moving": after.moving}
    Variable.set(_name(share), kept, overwrite=True)


def _name(share: str) -> str:
    return f"packmaster-share-{share}"
