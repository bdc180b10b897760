"""Whether a share may be moved while both of its servers are well: what was seen -> SwitchPlan. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.errors import PlanRefused
from tasks.failover.failover_plan import FailoverPlan
from tasks.failover.readiness import refuse_unready
from tasks.failover.values import Situation
from tasks.fencing.record import Role


@dataclass(frozen=True, slots=True)
class SwitchPlan:
    """What will be done, in order. `copies` says whether a copy is made before the pause begins; `resumed`
    whether an earlier run had ended the exports of `old` already.
    """

    share: str
    old: str
    new: str
    epoch: int
    nodes: tuple[str, ...]
    resumed: bool = False

    def __bool__(self) -> bool:
        return True

    @property
    def takeover(self) -> FailoverPlan:
        """The part that a failover has, too."""
        return FailoverPlan(self.share, self.old, self.new, self.epoch, self.nodes)

    @property
    def steps(self) -> tuple[tuple[str, str], ...]:
        """(where, what), in order."""
        return (
            *(() if self.resumed else ((self.new, "gets a copy while all goes on"),)),
            *((node, "drain and unmount: the pause begins") for node in self.nodes),
            (self.old, "ends its exports, and is seen to have"),
            (self.new, "gets what was written since, and has nothing else"),
            (self.new, f"serves under epoch {self.epoch}"),
            *((node, f"mount from {self.new}, check, serve again: the pause ends") for node in self.nodes),
            (self.old, "becomes the standby"),
        )

    def __str__(self) -> str:
        head = f"share {self.share}: from {self.old} to {self.new}, epoch {self.epoch}, nothing is lost"
        return "\n".join([head, *(f"  {where}: {what}" for where, what in self.steps)])

    def as_rows(self) -> list[dict[str, str]]:
        """The steps in order."""
        return [
            {"order": str(n), "where": where, "what": what} for n, (where, what) in enumerate(self.steps, 1)
        ]


def plan_switch(seen: Situation) -> SwitchPlan:
    """Plan that the standby serves the share. Raises PlanRefused unless both servers and all nodes are well:
    for anything else there is failover-share.
    """
    share, ledger, standby = seen.share, seen.ledger, seen.share.standby
    if share.mode == "external" or standby is None:
        raise PlanRefused(f"share {share.name} has no standby", "Add one, and run provision-pack")
    if ledger.moving or ledger.server != share.server.name:
        raise PlanRefused(
            f"share {share.name} was not moved to the end: its record says {ledger}",
            "Run failover-share, which finishes that, and then this again",
        )
    old, new = seen.record(share.server.name), seen.record(standby.name)
    unseen = [f"{name}: {why}" for name, why in seen.unseen.items()]
    if unseen:
        raise PlanRefused(f"both servers have to be read: {'; '.join(unseen)}", "Bring them back")
    resumed = old.role is Role.FENCED and old.epoch == ledger.epoch
    if new.role is not Role.STANDBY or new.epoch != ledger.epoch:
        raise PlanRefused(
            f"{standby.name} is no standby under epoch {ledger.epoch}: it is {new}", "Run rejoin-standby"
        )
    refuse_unready(seen, share.server, standby)
    if resumed:
        return SwitchPlan(share.name, share.server.name, standby.name, ledger.epoch + 1, seen.nodes, True)
    if old.role is not Role.PRIMARY or seen.down:
        raise PlanRefused(
            f"{share.server.name} does not serve share {share.name}: it is {old}; {seen.witnesses}",
            "Run failover-share",
        )
    strays = {node: why for node, why in seen.misplaced.items() if node not in seen.detached}
    if strays:
        said = "; ".join(f"{node}: {why}" for node, why in strays.items())
        raise PlanRefused(
            f"not every node works from {share.server.name}: {said}",
            "What they hold back would be lost. Run repair-share, or take them out with remove-node",
        )
    return SwitchPlan(share.name, share.server.name, standby.name, ledger.epoch + 1, seen.nodes)
