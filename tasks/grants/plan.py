"""What has to be done so that every site reaches its database from its nodes, and nobody else does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasks.errors import PlanRefused
from tasks.grants.rules import (
    accounts_of,
    password_matches,
    refuse_clashes,
    refuse_foreign_database,
    refuse_hosts,
    refuse_names,
    refuse_strangers,
    rights_on,
)
from tasks.grants.statements import shown
from tasks.grants.values import (
    STAGING_HOST,
    Account,
    Desired,
    GrantFacts,
    GrantStep,
    RemovedAccess,
    SiteAccess,
    escape_pattern,
)

# Phases: nobody loses access before everybody who should have it has it. A database comes after its grants,
# so that one that exists while none of our accounts may use it can only be somebody else's.
_ORDER = {"create role": 0, "alter": 2, "grant": 3, "create database": 4}
_REMOVAL_ORDER = {"revoke": 5, "drop database": 6, "drop account": 7}


@dataclass(frozen=True, slots=True)
class GrantPlan:
    """The statements to come, in order. Comparable, printable, and without any password."""

    steps: tuple[GrantStep, ...] = ()
    notes: tuple[str, ...] = ()
    drop_stale: bool = False

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __str__(self) -> str:
        if not self.steps:
            return "\n".join(["grants: nothing to do", *self.notes])
        lines = [f"{number:3}. {shown(step)}" for number, step in enumerate(self.steps, 1)]
        return "\n".join([f"grants: {len(self.steps)} statement(s)", *lines, *self.notes])

    @property
    def additions(self) -> tuple[GrantStep, ...]:
        """The steps that give access; they come first and are verified before anything is taken away."""
        return tuple(step for step in self.steps if not step.removes)

    @property
    def removals(self) -> tuple[GrantStep, ...]:
        return tuple(step for step in self.steps if step.removes)

    def as_rows(self) -> list[dict[str, str]]:
        """Rows for a table artifact."""
        return [
            {"site": step.site, "step": step.kind, "account": str(step.account or ""), "sql": shown(step)}
            for step in self.steps
        ]


def plan_grants(desired: Sequence[Desired], actual: GrantFacts, *, drop_stale: bool = False) -> GrantPlan:
    """Return the ordered steps from `actual` to `desired`; empty when nothing is to be done.

    Accounts at hosts that no longer serve a site are dropped only with `drop_stale`, and only where
    discovery was complete. Raises PlanRefused for a name or host that is not ours to use, for a database or
    account that somebody else made (ADOPTION_REQUIRED), and for work on a server that is read-only.
    """
    ordered = sorted(desired, key=lambda access: (access.site, access.user))
    refuse_clashes(ordered)
    steps: list[GrantStep] = []
    notes: list[str] = []
    for access in ordered:
        refuse_names(access, actual)
        if isinstance(access, RemovedAccess):
            steps += _remove(access, actual)
        else:
            refuse_hosts(access)
            refuse_strangers(access, actual)
            steps += _give(access, actual)
            steps += _take_back(access, actual, drop_stale=drop_stale)
            notes += _remarks(access, actual, drop_stale=drop_stale)
    if any(step.kind == "mark" for step in steps) and not actual.has_marker:
        steps.append(GrantStep("create role"))
    if steps and actual.server.read_only:
        raise PlanRefused("the database server is read-only", "Register the server that takes writes")
    # sorted() is stable: what belongs to one account stays together, in the order it was planned.
    steps = sorted(steps, key=_phase)
    return GrantPlan(tuple(steps), tuple(notes), drop_stale)


def _phase(step: GrantStep) -> int:
    if step.removes:
        return _REMOVAL_ORDER[step.kind]
    if step.account and step.account.host == STAGING_HOST:
        return 1
    return _ORDER[step.kind]


def _give(access: SiteAccess, actual: GrantFacts) -> Iterator[GrantStep]:
    there = {facts.account.host: facts for facts in accounts_of(access.user, actual) if facts.managed}
    pattern = escape_pattern(access.database, literal=actual.server.literal_names)
    wanted = tuple(sorted(access.privileges))
    for host in sorted(access.hosts):
        account = Account(access.user, host)
        if host not in there:
            yield from _build(access, account, pattern, wanted)
            continue
        if password_matches(access, there[host]) is False:
            yield GrantStep("alter", access.site, account)
        has = rights_on(access.database, account, actual).get(pattern, frozenset())
        if missing := tuple(right for right in wanted if right not in has):
            yield GrantStep("grant", access.site, account, pattern=pattern, privileges=missing)
    if access.database not in actual.databases:
        yield GrantStep("create database", access.site, database=access.database)


def _build(
    access: SiteAccess, account: Account, pattern: str, privileges: tuple[str, ...]
) -> Iterator[GrantStep]:
    staged = Account(access.user, STAGING_HOST)
    yield GrantStep("clear", access.site, staged)
    yield GrantStep("create account", access.site, staged)
    yield GrantStep("mark", access.site, staged)
    yield GrantStep("grant", access.site, staged, pattern=pattern, privileges=privileges)
    yield GrantStep("cut in", access.site, staged, renamed_to=account)


def _take_back(access: SiteAccess, actual: GrantFacts, *, drop_stale: bool) -> Iterator[GrantStep]:
    pattern = escape_pattern(access.database, literal=actual.server.literal_names)
    for there in accounts_of(access.user, actual):
        account = there.account
        if account.host == STAGING_HOST:
            # Left by a run that was killed. While one is being built anyway, `clear` takes it away.
            if all(there_too in _hosts_of(access, actual) for there_too in access.hosts):
                yield GrantStep("drop account", access.site, account)
        elif account.host not in access.hosts:
            if drop_stale and access.complete:
                yield GrantStep("drop account", access.site, account)
        else:
            for stored, has in sorted(rights_on(access.database, account, actual).items()):
                keep = frozenset(access.privileges) if stored == pattern else frozenset()
                if extra := tuple(sorted(has - keep)):
                    yield GrantStep("revoke", access.site, account, pattern=stored, privileges=extra)


def _hosts_of(access: SiteAccess, actual: GrantFacts) -> frozenset[str]:
    return frozenset(there.account.host for there in accounts_of(access.user, actual) if there.managed)


def _remove(access: RemovedAccess, actual: GrantFacts) -> Iterator[GrantStep]:
    if access.database in actual.databases:
        refuse_foreign_database(access, actual)
        yield GrantStep("drop database", access.site, database=access.database)
    for there in accounts_of(access.user, actual):
        if there.managed or there.account.host == STAGING_HOST:
            yield GrantStep("drop account", access.site, there.account)


def _remarks(access: SiteAccess, actual: GrantFacts, *, drop_stale: bool) -> Iterator[str]:
    for host in sorted(_hosts_of(access, actual) - set(access.hosts) - {STAGING_HOST}):
        if not (drop_stale and access.complete):
            yield f"{access.user}@{host} is not at a node that was observed; it is left alone"
    spellings = {access.database, escape_pattern(access.database)}
    for rights in actual.rights:
        if rights.account.user == access.user and rights.pattern not in spellings:
            yield f"{rights.account} also has rights on {rights.pattern!r}; they are left alone"
