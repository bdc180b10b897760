"""Whether a failover that an earlier run began is given up, for the server that it was about is back. Pure.

Until that server was fenced it has all that was written, so nothing is lost. What keeps its nfsd from
starting after a boot is the standby's claim alone (see tasks.fencing.gate), and ends with it.
"""

from __future__ import annotations

from tasks.errors import PlanRefused
from tasks.failover.values import Request, Situation
from tasks.fencing.record import Role
from tasks.fleet import Machine


def is_withdrawn(seen: Situation, request: Request, old: Machine, new: Machine) -> bool:
    """Whether `old` goes on serving: it answers, or a person says that it is back."""
    back = request.withdraw or not (seen.down or request.although_it_answers)
    return back and _is_untouched(seen, old, new)


def refuse_withdrawal(seen: Situation, request: Request, old: Machine, new: Machine) -> None:
    """Raise PlanRefused where a person wants a failover withdrawn that was not begun, or has gone too far."""
    if not request.withdraw or (seen.ledger.moving and _is_untouched(seen, old, new)):
        return
    records = [
        f"{server.name} is {seen.record(server.name)}"
        if server.name in seen.looks
        else f"{server.name} is silent"
        for server in (old, new)
    ]
    raise PlanRefused(
        f"no failover of share {seen.share.name} can be withdrawn: the controller's record says "
        f"{seen.ledger}, {' and '.join(records)}",
        "Run this without `withdraw`, which finishes what was begun",
    )


def _is_untouched(seen: Situation, old: Machine, new: Machine) -> bool:
    """`old` was to be replaced, and was not fenced yet; `new` claimed the next epoch at most."""
    epoch, was, claim = seen.ledger.epoch, seen.record(old.name), seen.record(new.name)
    if (was.role, was.epoch) != (Role.PRIMARY, epoch - 1):
        return False
    if (claim.role, claim.epoch) == (Role.TAKING_OVER, epoch):
        return not seen.looks[new.name].exports(seen.share)
    return (claim.role, claim.epoch) == (Role.STANDBY, epoch - 1)
