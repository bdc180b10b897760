"""Which epoch and roles a share's servers are to have on record, so that one may take over. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.errors import PlanRefused
from tasks.failover.values import Ledger
from tasks.fencing.record import Record, Role
from tasks.fencing.values import ServerLook
from tasks.fleet import Share


@dataclass(frozen=True, slots=True)
class Enlistment:
    """What the ledger says, and each server's record in the order in which they are written: the server knows
    of its peer before that one is a standby.
    """

    ledger: Ledger
    records: tuple[tuple[str, Record], ...] = ()
    notes: tuple[str, ...] = ()


def plan_enlistment(
    share: Share, ledger: Ledger, looks: Mapping[str, ServerLook], *, synced: bool = False
) -> Enlistment:
    """Plan that the share's server serves under an epoch, and that its standby may take over.

    `synced` says that the standby has a copy of what the server has: only then one that was fenced, and may
    have what the server has not, becomes a standby again. Raises PlanRefused where the servers' records
    contradict the inventory.
    """
    server, standby = looks[share.server.name], looks.get(share.standby.name) if share.standby else None
    refuse_superseded(share, ledger)
    seen = [look.record.epoch for look in (server, standby) if look is not None]
    epoch = ledger.epoch or max(1, *seen)
    _refuse_contradiction(share, epoch, server, standby)
    now = Ledger(epoch, share.server.name)
    known = standby is not None and share.standby is not None
    if standby is None or share.standby is None or (standby.record.role is Role.FENCED and not synced):
        why = "was fenced: run rejoin-standby" if known else "is not there"
        # Whoever was its peer may think that it still is, so it gets no say under the next epoch.
        left = server.record.peer and server.record.epoch == epoch and not known
        now = Ledger(epoch + 1, share.server.name) if left else now
        alone = Record(now.epoch, Role.PRIMARY, "")
        return Enlistment(now, ((server.host, alone),), (f"its standby {why}",))
    records = (
        (server.host, Record(epoch, Role.PRIMARY, share.standby.address)),
        (standby.host, Record(epoch, Role.STANDBY, share.server.address)),
    )
    return Enlistment(now, records)


def refuse_superseded(share: Share, ledger: Ledger) -> None:
    """Raise PlanRefused when the inventory names another server than the one that serves: an old file was
    applied, or a failover was not finished.
    """
    if ledger.moving:
        raise PlanRefused(
            f"share {share.name} is being moved to {ledger.server} (epoch {ledger.epoch})",
            "Run failover-share, which finishes that",
        )
    if ledger.epoch and ledger.server != share.server.name:
        raise PlanRefused(
            f"the inventory says that {share.server.name} serves share {share.name}, and since epoch "
            f"{ledger.epoch} it is {ledger.server}",
            f"Make {ledger.server} its server and {share.server.name} its standby in the inventory file, "
            "too; failover-share puts what is registered right",
        )


def _refuse_contradiction(share: Share, epoch: int, server: ServerLook, standby: ServerLook | None) -> None:
    record = server.record
    if record.epoch > epoch or (record.role not in {Role.NONE, Role.PRIMARY} and record.epoch == epoch):
        raise PlanRefused(
            f"{server.host} is to serve share {share.name} under epoch {epoch}, and its own record says that "
            f"it is {record}",
            "Find out which server has the data. failover-share to the other one goes on where it ended",
        )
    if standby is None:
        return
    ahead = standby.record.role in {Role.PRIMARY, Role.TAKING_OVER} and standby.record.epoch >= epoch
    if ahead or standby.serves(share):
        raise PlanRefused(
            f"{standby.host} is registered as the standby of share {share.name}, and is {standby.record}"
            f"{', and exports it' if standby.serves(share) else ''}",
            "Two servers that are written to lose data: make it the share's server, or take its exports back",
        )
