"""Statements that the server refused, and what was not run because of them; everything else goes on."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.errors import PackmasterError
from tasks.grants.values import Account, GrantStep

_TOLD = 20


class StatementsRefused(PackmasterError):  # noqa: N818 - reads as the verdict it is
    """Several things went wrong with one server's grants; what they did not concern was done."""

    def __init__(self, server: str, reasons: tuple[str, ...]) -> None:
        # Where many hosts are reported, only the first line of each is shown.
        lines = [f"{reasons[0]} (1 of {len(reasons)} refusals; all else was done)", *reasons[1:_TOLD]]
        lines += [f"and {len(reasons) - _TOLD} more"] if len(reasons) > _TOLD else []
        super().__init__("\n".join(lines))
        self.server = server
        self.reasons = reasons

    def __reduce__(self) -> tuple[type[StatementsRefused], tuple[str, tuple[str, ...]]]:
        return type(self), (self.server, self.reasons)


class Refusals:
    """What went wrong so far, and which of the steps to come depend on what did."""

    def __init__(self) -> None:
        self.errors: list[PackmasterError] = []
        self._accounts: set[Account] = set()
        self._sites: set[str] = set()
        self._databases: set[str] = set()

    def add(self, steps: Sequence[GrantStep], error: PackmasterError) -> None:
        """Take down that `steps` were refused. Raises `error` where everybody's depend on one of them."""
        self.errors.append(error)
        for step in steps:
            self._sites.add(step.site)
            if step.account is not None:
                self._accounts.add(step.account)
            elif step.database:
                self._databases.add(step.site)
            else:
                raise error

    def stop(self, step: GrantStep) -> bool:
        """Say whether `step` must not be run any more.

        An account's steps build on each other. A database comes or goes when all of its site's steps before
        were run, and its accounts go only after it: they are what shows that it is ours.
        """
        return (
            step.account in self._accounts
            or step.site in self._databases
            or (bool(step.database) and step.site in self._sites)
        )


def raise_all(server: str, errors: Sequence[PackmasterError]) -> None:
    """Raise the one error there is, or StatementsRefused with what all of them say; return without any."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise StatementsRefused(server, tuple(map(str, errors)))
