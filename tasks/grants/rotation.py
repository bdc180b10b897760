"""A site's password changed without one refused login: which statements, in which order. Pure.

First every account takes both passwords, then all nodes are switched to the new one, then the old one is
taken away. MySQL has a second password for that, MariaDB a list of methods of which any will do. What an
account takes is seen from the digests that the server stores, so a run that was killed is planned onwards
from wherever it got to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.grants.values import Account

Secret = Literal["old", "new", "other"]
ServerKind = Literal["mariadb", "mysql"]
# `set` replaces the first password and leaves the second as it is; `add` makes the first one the second;
# `discard` drops the second; `either` and `only` replace all there are.
RotationKind = Literal["set old", "discard", "add new", "accept either", "set new", "accept only new"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The passwords that one account takes, the server's own first one first."""

    account: Account
    secrets: tuple[Secret, ...]


@dataclass(frozen=True, slots=True)
class RotationStep:
    """One statement. On MySQL it is over all accounts, for there it works on all of them or on none."""

    kind: RotationKind
    accounts: tuple[Account, ...]
    closing: bool = False

    def __str__(self) -> str:
        return f"{self.kind}: {', '.join(map(str, self.accounts))}"


@dataclass(frozen=True, slots=True)
class RotationPlan:
    """The statements to come; `opening` ones before, `closing` ones after the nodes have the new password."""

    user: str
    steps: tuple[RotationStep, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __str__(self) -> str:
        if not self.steps:
            return f"{self.user}: only the new password is accepted"
        return "\n".join([f"rotate the password of {self.user}", *(f"  {step}" for step in self.steps)])

    @property
    def opening(self) -> tuple[RotationStep, ...]:
        return tuple(step for step in self.steps if not step.closing)

    @property
    def closing(self) -> tuple[RotationStep, ...]:
        return tuple(step for step in self.steps if step.closing)

    def as_rows(self) -> list[dict[str, str]]:
        """Rows for a table artifact."""
        return [
            {
                "phase": "once every node uses the new one"
                if step.closing
                else "before any node is switched",
                "step": step.kind,
                "accounts": ", ".join(map(str, step.accounts)),
            }
            for step in self.steps
        ]


def plan_rotation(user: str, accepted: Sequence[Accepted], kind: ServerKind) -> RotationPlan:
    """Return what makes every account take the new password too, and then no other; empty when it does.

    No account that takes the old password stops taking it before the closing steps.
    """
    has = {each.account: each.secrets for each in sorted(accepted, key=lambda each: each.account)}
    opening = [*(_open_mysql(has) if kind == "mysql" else _open_mariadb(has))]
    for step in opening:
        has = take_step(has, step)
    closing = [*(_close_mysql(has) if kind == "mysql" else _close_mariadb(has))]
    return RotationPlan(user, (*opening, *closing))


def take_step(
    has: Mapping[Account, tuple[Secret, ...]], step: RotationStep
) -> dict[Account, tuple[Secret, ...]]:
    """Return what the accounts take after `step`: the servers' rules, see tests/nodes/test_rotation.py."""
    after = dict(has)
    for account in step.accounts:
        before = has[account]
        now: dict[RotationKind, tuple[Secret, ...]] = {
            "set old": ("old", *before[1:]),
            "set new": ("new", *before[1:]),
            "discard": before[:1],
            "add new": ("new", *before[:1]),
            "accept either": ("new", "old"),
            "accept only new": ("new",),
        }
        after[account] = now[step.kind]
    return after


def _open_mysql(has: Mapping[Account, tuple[Secret, ...]]) -> Iterator[RotationStep]:
    lacking = [account for account, secrets in has.items() if "new" not in secrets]
    # Only the first password can be kept, and a second one that is there already would outlive it.
    yield from _over("set old", [account for account in lacking if has[account][:1] != ("old",)])
    yield from _over("discard", [account for account in lacking if len(has[account]) > 1])
    yield from _over("add new", lacking)


def _close_mysql(has: Mapping[Account, tuple[Secret, ...]]) -> Iterator[RotationStep]:
    yield from _over("set new", [a for a, secrets in has.items() if secrets[:1] != ("new",)], closing=True)
    yield from _over("discard", [a for a, secrets in has.items() if len(secrets) > 1], closing=True)


def _open_mariadb(has: Mapping[Account, tuple[Secret, ...]]) -> Iterator[RotationStep]:
    for account, secrets in has.items():
        if "new" not in secrets:
            yield RotationStep("accept either", (account,))


def _close_mariadb(has: Mapping[Account, tuple[Secret, ...]]) -> Iterator[RotationStep]:
    for account, secrets in has.items():
        if secrets != ("new",):
            yield RotationStep("accept only new", (account,), closing=True)


def _over(
    kind: RotationKind, accounts: Sequence[Account], *, closing: bool = False
) -> Iterator[RotationStep]:
    if accounts:
        yield RotationStep(kind, tuple(accounts), closing)
