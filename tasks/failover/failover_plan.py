"""What a failover is going to do, in order, as an operator reads it. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FailoverPlan:
    """What will be done. `takes_over` says whether `new` is still to be promoted, `promoted` whether it has
    been already by a run that ended early; then only `nodes` are moved, and the inventory.

    `returns` says that `new` is the server that was to be replaced, and is not. `withdraws` says the same,
    and that `old` claimed the next epoch and was not promoted. `loss` is how many seconds of what was
    written may be gone, None where nothing is lost or promised.
    """

    share: str
    old: str
    new: str
    epoch: int
    nodes: tuple[str, ...] = ()
    takes_over: bool = True
    claims: bool = True
    rewrites: bool = True
    returns: bool = False
    withdraws: bool = False
    loss: float | None = None
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.takes_over or self.rewrites or bool(self.nodes)

    @property
    def steps(self) -> tuple[tuple[str, str], ...]:
        """(where, what), in order."""
        steps: list[tuple[str, str]] = []
        if self.withdraws:
            steps.append((self.old, f"withdraw its claim of epoch {self.epoch + 1}: it is a standby again"))
        if self.takes_over:
            if self.claims:
                steps.append(
                    (self.new, f"claim epoch {self.epoch}: from now on {self.old} asks before it exports")
                )
            steps.append((self.old, "fence, and see that it is out of action; else nothing is promoted"))
            steps.append((self.new, f"promote: export the share under epoch {self.epoch}"))
        if self.rewrites:
            steps.append(
                ("inventory", f"{self.new} is the server of share {self.share}, {self.old} its standby")
            )
        steps += [(node, f"drain, mount from {self.new}, check, serve again") for node in self.nodes]
        return tuple(steps)

    def __str__(self) -> str:
        head = f"share {self.share}: from {self.old} to {self.new}, epoch {self.epoch}"
        lines = [f"  {where}: {what}" for where, what in self.steps]
        return "\n".join([head, *(f"  {note}" for note in self.notes), *(lines or ["  nothing to do"])])

    def as_rows(self) -> list[dict[str, str]]:
        """What is known first, then the steps in order."""
        rows = [{"order": "", "where": self.share, "what": note} for note in self.notes]
        rows += [
            {"order": str(n), "where": where, "what": what} for n, (where, what) in enumerate(self.steps, 1)
        ]
        return rows or [{"order": "", "where": self.share, "what": f"{self.new} serves it: nothing to do"}]
