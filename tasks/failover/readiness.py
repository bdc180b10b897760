"""Whether a server could export the share once the other one is gone, known before anything is done. Pure."""

from __future__ import annotations

from tasks.errors import PlanRefused
from tasks.failover.values import Situation
from tasks.fencing.record import Role
from tasks.fleet import Machine


def refuse_unready(seen: Situation, old: Machine, new: Machine) -> None:
    """Raise PlanRefused for a server that is to take over, and could only say so when the other one is gone.

    Its nfsd starts before that: it must have nothing to export then, and say to the other one who serves.
    """
    look = seen.looks[new.name]
    if look.record.role is Role.PRIMARY:
        return
    if look.record.role is Role.STANDBY and look.listed:
        raise PlanRefused(
            f"on {new.name} share {seen.share.name} is in /etc/exports.d already, and it was not promoted",
            "Somebody did it by hand: take that file away there",
        )
    if not look.guarded:
        raise PlanRefused(
            f"the gate of {new.name} is not there, or does not answer: {old.name} could not ask it who "
            "serves when it boots",
            f"Start packmaster-epoch.socket on {new.name}; or run provision-pack while both servers are up",
        )
    if why := seen.unready.get(new.name):
        raise PlanRefused(f"{new.name} could not export share {seen.share.name}: {why}")
