"""Everything that can go wrong, and what decides how it is treated.

    PackmasterError
    ├── Unreachable      the host or service did not answer: the only kind that is retried
    ├── AccessDenied     it answered, but its host key or our login is refused: retrying cannot help
    ├── CommandFailed    a command ran and failed; carries its Result
    ├── PlanRefused      nothing was touched; carries the reason and what to do next
    ├── HostsFailed      a fan-out finished and some hosts failed; carries every Outcome
    └── Drift            actual differs from desired where nobody planned it

A message says what went wrong, where, and what to do next. It never holds a secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.outcome import Outcomes
    from tasks.result import Result


class PackmasterError(Exception):
    """The root of the tree: catch this to catch everything that Packmaster raises on purpose."""


class Unreachable(PackmasterError):  # noqa: N818 - reads as the verdict it is
    """A host or service did not answer in time, refused the connection or dropped it."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"{host} cannot be reached: {reason}")
        self.host = host
        self.reason = reason

    def __reduce__(self) -> tuple[type[Unreachable], tuple[str, str]]:
        return type(self), (self.host, self.reason)


class AccessDenied(PackmasterError):  # noqa: N818
    """The host answered, but its identity or our login was refused."""

    def __init__(self, host: str, reason: str, remedy: str) -> None:
        super().__init__(f"{host}: {reason}. {remedy}")
        self.host = host
        self.reason = reason
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[AccessDenied], tuple[str, str, str]]:
        return type(self), (self.host, self.reason, self.remedy)


class CommandFailed(PackmasterError):  # noqa: N818
    """A command ran on a host and exited with a status that was not expected."""

    def __init__(self, result: Result, meaning: str = "") -> None:
        head = f"{meaning}: " if meaning else ""
        super().__init__(f"{head}{result.describe()}")
        self.result = result
        self.meaning = meaning

    def __reduce__(self) -> tuple[type[CommandFailed], tuple[Result, str]]:
        return type(self), (self.result, self.meaning)


class PlanRefused(PackmasterError):  # noqa: N818
    """What was asked cannot be planned safely. Nothing has been changed."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(f"{reason}. {remedy}" if remedy else reason)
        self.reason = reason
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[PlanRefused], tuple[str, str]]:
        return type(self), (self.reason, self.remedy)


class HostsFailed(PackmasterError):  # noqa: N818
    """Some hosts of a fan-out failed; the others' results are kept in `outcomes`."""

    def __init__(self, outcomes: Outcomes) -> None:
        failed = outcomes.failed
        # One line each: the whole of every error is in the outcome table.
        lines = [f"  {o.host}: {o.step}: {_in_one_line(o.error or '')}" for o in failed]
        super().__init__("\n".join([f"{len(outcomes.failed_hosts)} host(s) failed:", *lines]))
        self.outcomes = outcomes

    def __reduce__(self) -> tuple[type[HostsFailed], tuple[Outcomes]]:
        return type(self), (self.outcomes,)


def _in_one_line(error: str) -> str:
    """The first line of an error, and where that announces what a command printed, the last of that."""
    first, *rest = error.strip().splitlines() or [""]
    return f"{first} {rest[-1].strip()}" if rest and first.endswith(":") else first


class Drift(PackmasterError):  # noqa: N818
    """Actual state differs from desired state and this run was asked only to look."""
