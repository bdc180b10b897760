"""How much one run may take away before a person has to say that it is meant."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.errors import PlanRefused


class BudgetExceeded(PlanRefused):
    """More accounts would be dropped than one run may drop. Nothing has been changed."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason, remedy)


@dataclass(frozen=True, slots=True)
class Budget:
    """At most so many stale accounts, or so many of a hundred of those that the sites have.

    The greater of the two counts. A mistake in what is registered, or a discovery that went wrong, shows as
    many accounts that nobody seems to need any more.
    """

    accounts: int = 20
    percent: int = 25

    def __str__(self) -> str:
        return f"{self.accounts} account(s) or {self.percent} % of them"

    def allowed(self, total: int) -> int:
        """Return how many of `total` accounts may go."""
        return max(self.accounts, total * self.percent // 100)


def refuse_beyond(budget: Budget, dropped: int, total: int) -> None:
    """Raise BudgetExceeded when `dropped` of `total` accounts is more than `budget` allows."""
    if dropped > budget.allowed(total):
        raise BudgetExceeded(
            f"{dropped} of {total} accounts would be locked and dropped, and one run may do so to {budget}",
            "Look at what the plan calls stale. If they are to go, allow as many drops for this run",
        )
