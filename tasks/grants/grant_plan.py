"""The plan of one server's grants: what will be run, what will not, and why."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tasks.grants.budget import Budget
from tasks.grants.spelling import stored_name
from tasks.grants.statements import shown
from tasks.grants.values import Desired, GrantFacts, GrantStep

# A plan of more steps is shown by site: nobody reads forty thousand statements before they are run.
SHOWN_STEPS = 500


@dataclass(frozen=True, slots=True)
class Policy:
    """What a plan may do; see `plan_grants`."""

    drop_stale: bool = False
    adopt: bool = False
    budget: Budget = field(default_factory=Budget)
    grace: bool = False
    thorough: bool = False


@dataclass(frozen=True, slots=True)
class GrantPlan:
    """The statements to come, in order. Comparable, printable, and without any password.

    `refused` says what is left undone and why; `incomplete` are the sites of which not every node was
    observed, of which nothing is dropped. A run that leaves one of them is no success. `fingerprint` is of
    what was read: with another one there, it has to be planned again.
    """

    steps: tuple[GrantStep, ...] = ()
    notes: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    policy: Policy = field(default_factory=Policy)
    incomplete: tuple[str, ...] = ()
    fingerprint: str = ""

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __str__(self) -> str:
        besides = [*self.notes, *(f"NOT DONE: {reason}" for reason in self.refused)]
        if not self.steps:
            return "\n".join(["grants: nothing to do", *besides])
        lines = [f"{number:3}. {shown(step)}" for number, step in enumerate(self.steps, 1)]
        if len(lines) > SHOWN_STEPS:
            lines = [f"  {row['site']}: {row['step']}" for row in self._rows_by_site()]
        return "\n".join([f"grants: {len(self.steps)} statement(s)", *lines, *besides])

    @property
    def additions(self) -> tuple[GrantStep, ...]:
        """The steps that give access; they come first and are verified before anything is taken away."""
        return tuple(step for step in self.steps if not step.removes)

    @property
    def removals(self) -> tuple[GrantStep, ...]:
        return tuple(step for step in self.steps if step.removes)

    @property
    def unready(self) -> frozenset[str]:
        """The sites that still lack something: to take from one of them now could be to take all it has."""
        return frozenset(step.site for step in self.additions if step.site)

    @property
    def safe_removals(self) -> tuple[GrantStep, ...]:
        """The removals of the sites that have all that they should have."""
        return tuple(step for step in self.removals if step.site not in self.unready)

    @property
    def sites(self) -> frozenset[str]:
        """The sites that something is done for."""
        return frozenset(step.site for step in self.steps if step.site)

    def as_rows(self) -> list[dict[str, str]]:
        """Rows for a table artifact: a statement each, or a site each when there are very many."""
        if len(self.steps) > SHOWN_STEPS:
            return self._rows_by_site()
        return [
            {"site": step.site, "step": step.kind, "account": str(step.account or ""), "sql": shown(step)}
            for step in self.steps
        ]

    def _rows_by_site(self) -> list[dict[str, str]]:
        kinds: dict[str, Counter[str]] = {}
        for step in self.steps:
            kinds.setdefault(step.site, Counter())[step.kind] += 1
        return [
            {
                "site": site,
                "step": ", ".join(f"{kind} ({count})" for kind, count in counts.items()),
                "account": "",
                "sql": "",
            }
            for site, counts in kinds.items()
        ]


def fingerprint_of(desired: Sequence[Desired], actual: GrantFacts) -> str:
    """Return a digest of all that was read about the accounts and databases in `desired`, and the server."""
    users = {access.user for access in desired}
    names = {stored_name(access.database, actual.server) for access in desired}
    sets = {row.privileges: " ".join(sorted(row.privileges)) for row in actual.rights}
    accounts = sorted(
        f"{f.account} {f.managed} {f.locked} {f.plugin} {len(f.others)} {f.digest.get_secret_value()} "
        f"{sorted(f.privileges)} {f.roles} {f.active_role}"
        for f in actual.accounts
        if f.account.user in users
    )
    rights = sorted(
        f"{row.account} {row.pattern} {sets[row.privileges]}"
        for row in actual.rights
        if row.account.user in users
    )
    about = [
        repr(actual.server),
        str(actual.has_marker),
        *accounts,
        *rights,
        *sorted(names & actual.databases),
    ]
    # The reader of a fingerprint learns nothing of the digests in it.
    return hashlib.sha256("\n".join(about).encode()).hexdigest()[:16]
