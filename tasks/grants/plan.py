"""What has to be done so that every site reaches its database from its nodes, and nobody else does."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from tasks.errors import PlanRefused
from tasks.grants.budget import Budget, refuse_beyond
from tasks.grants.comparison import Comparison, compare, sites_of
from tasks.grants.exposure import find_exposure
from tasks.grants.grant_plan import GrantPlan, Policy, fingerprint_of
from tasks.grants.rules import (
    find_owners,
    is_protected,
    owned_patterns,
    refuse_clashes,
    refuse_foreign_database,
    refuse_hosts,
    refuse_names,
    refuse_no_password,
    refuse_server,
    refuse_strangers,
)
from tasks.grants.spelling import grant_pattern, stored_name
from tasks.grants.values import (
    STAGING_HOST,
    Account,
    AccountFacts,
    Desired,
    GrantFacts,
    GrantStep,
    RemovedAccess,
    SiteAccess,
)

# Phases: nobody loses access before everybody who should have it has it. A database comes after the accounts
# that use it, so that one that exists while its user has no account of ours can only be somebody else's.
_ORDER = {"create role": 0, "mark": 2, "alter": 2, "unlock": 2, "grant": 3, "create database": 4}
_REMOVAL_ORDER = {"revoke": 5, "lock": 6, "drop database": 7, "drop account": 8}


def plan_grants(
    desired: Sequence[Desired],
    actual: GrantFacts,
    *,
    drop_stale: bool = False,
    adopt: bool = False,
    budget: Budget = Budget(),  # noqa: B008 - frozen
    grace: bool = False,
    thorough: bool = False,
) -> GrantPlan:
    """Return the ordered steps from `actual` to `desired`; empty when nothing is to be done.

    Accounts at hosts that no longer serve a site are dropped only with `drop_stale`, and only where
    discovery was complete; with `grace` they are locked, and dropped by a later run that finds them locked.
    One that has defined a view, trigger, routine or event is locked and kept. `adopt` makes accounts and
    databases ours that somebody else made. `thorough` computes every salted digest, 10 ms each.

    A site that cannot be planned is in `refused` of the plan, and the others are planned. Raises PlanRefused
    when that is all there is, for two sites with one database or user, for work on a server that takes no
    writes, and (BudgetExceeded) when more would be dropped than `budget` allows.
    """
    policy = Policy(drop_stale, adopt, budget, grace, thorough)
    return plan_with(policy, desired, actual)


def plan_with(policy: Policy, desired: Sequence[Desired], actual: GrantFacts) -> GrantPlan:
    """Return what `plan_grants` does with the same policy: for planning again what was planned before."""
    refuse_clashes(desired)
    given = sites_of(desired)
    removed = sorted((a for a in desired if isinstance(a, RemovedAccess)), key=lambda a: (a.site, a.user))
    found = compare(given, actual, thorough=policy.thorough)
    refused, bad = _refuse(given, removed, found, actual, policy)
    if bad and len(bad) == len(given) + len(removed):
        raise PlanRefused("; ".join(refused))
    steps = [step for step in _steps(given, found, actual, policy) if step.site not in bad]
    kept = sorted(set(_definers(found, actual, policy, bad)))
    for access in removed:
        steps += _remove(access, actual) if access.site not in bad else ()
    stale = {step.account for step in steps if step.kind in {"lock", "drop account"}}
    stale -= {step.account for step in steps if step.site in {access.site for access in removed}}
    total = sum(len(access.hosts) for access in given) + len(found.stale)
    refuse_beyond(policy.budget, len(stale - {facts.account for _, facts in found.staged}), total)
    if any(step.kind == "mark" for step in steps) and not actual.has_marker:
        steps.append(GrantStep("create role"))
    if steps:
        refuse_server(actual.server)
    return GrantPlan(
        # sorted() is stable: what belongs to one account stays together, in the order it was planned.
        tuple(sorted(steps, key=_phase)),
        tuple(_remarks(found, given, actual, policy)),
        refused=(*refused, *kept),
        policy=policy,
        incomplete=tuple(access.site for access in given if not access.complete),
        fingerprint=fingerprint_of(desired, actual),
    )


def _refuse(
    given: Sequence[SiteAccess],
    removed: Sequence[RemovedAccess],
    found: Comparison,
    actual: GrantFacts,
    policy: Policy,
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return why sites cannot be planned, and which."""
    strangers: dict[str, list[AccountFacts]] = {}
    for access, facts in (*found.strangers, *((a, f) for a, f in found.stale if is_protected(f))):
        strangers.setdefault(access.site, []).append(facts)
    patterns, owners = owned_patterns(actual), find_owners(actual)
    reasons: dict[str, str] = {}
    everything: tuple[Desired, ...] = (*given, *removed)
    for each in everything:
        try:
            refuse_names(each, actual)
            if isinstance(each, SiteAccess):
                refuse_no_password(each)
                refuse_hosts(each)
                refuse_strangers(each, strangers.get(each.site, ()), adopt=policy.adopt)
            adopts = policy.adopt and isinstance(each, SiteAccess)
            exists = stored_name(each.database, actual.server) in actual.databases
            if exists and not adopts and each.user not in owners:
                refuse_foreign_database(each, patterns.get(each.user, frozenset()), actual.server)
        except PlanRefused as refusal:
            reasons[each.site] = str(refusal)
    return tuple(reasons[site] for site in sorted(reasons)), frozenset(reasons)


def _steps(
    given: Sequence[SiteAccess], found: Comparison, actual: GrantFacts, policy: Policy
) -> Iterator[GrantStep]:
    building = {access.user for access, _ in found.missing}
    for access, facts in found.staged:
        # Left by a run that was killed.
        yield GrantStep("clear" if access.user in building else "drop account", access.site, facts.account)
    for access, account in found.missing:
        yield from _build(access, account, found, actual)
    for access, facts in found.strangers:
        yield GrantStep("mark", access.site, facts.account)
    for access, account in (*found.wrong, *found.uneven):
        yield GrantStep("alter", access.site, account, like=found.like.get(access.user))
    for access, account in found.locked:
        yield GrantStep("unlock", access.site, account)
    for access, account, short in found.lacking:
        pattern = grant_pattern(access.database, actual.server)
        yield GrantStep("grant", access.site, account, pattern=pattern, privileges=short)
    for access in given:
        if stored_name(access.database, actual.server) not in actual.databases:
            yield GrantStep("create database", access.site, database=access.database)
    for access, account, stored, extra in found.excess:
        yield GrantStep("revoke", access.site, account, pattern=stored, privileges=extra)
    yield from _drop_stale(found, actual, policy)


def _build(
    access: SiteAccess, account: Account, found: Comparison, actual: GrantFacts
) -> Iterator[GrantStep]:
    staged = Account(access.user, STAGING_HOST)
    pattern = grant_pattern(access.database, actual.server)
    yield GrantStep("create account", access.site, staged, like=found.like.get(access.user))
    yield GrantStep("mark", access.site, staged)
    yield GrantStep(
        "grant", access.site, staged, pattern=pattern, privileges=tuple(sorted(access.privileges))
    )
    yield GrantStep("cut in", access.site, staged, renamed_to=account)


def _drop_stale(found: Comparison, actual: GrantFacts, policy: Policy) -> Iterator[GrantStep]:
    if not policy.drop_stale:
        return
    definers = {defined.definer for defined in actual.definitions}
    for access, facts in _leaving(found):
        if not access.complete:
            continue
        if not facts.locked:
            yield GrantStep("lock", access.site, facts.account)
        if facts.account not in definers and (facts.locked or not policy.grace):
            yield GrantStep("drop account", access.site, facts.account)


def _leaving(found: Comparison) -> Iterator[tuple[SiteAccess, AccountFacts]]:
    """Accounts at hosts that no node has; those of strangers only count when they are adopted."""
    yield from found.stale
    yield from (
        (access, facts) for access, facts in found.strangers if facts.account.host not in access.hosts
    )


def _definers(found: Comparison, actual: GrantFacts, policy: Policy, bad: Collection[str]) -> Iterator[str]:
    """Why a stale account is not dropped: what it defined runs with its rights, and would break."""
    defined: dict[Account, list[str]] = {}
    for each in actual.definitions:
        defined.setdefault(each.definer, []).append(each.what)
    for access, facts in _leaving(found):
        if policy.drop_stale and access.complete and access.site not in bad and facts.account in defined:
            yield (
                f"{facts.account} is at no node any more and is locked, but not dropped: it is the definer "
                f"of {', '.join(defined[facts.account])}. Give them another definer, and run this again"
            )


def _remove(access: RemovedAccess, actual: GrantFacts) -> Iterator[GrantStep]:
    if stored_name(access.database, actual.server) in actual.databases:
        yield GrantStep("drop database", access.site, database=access.database)
    for there in sorted(actual.accounts, key=lambda there: there.account):
        if there.account.user != access.user or is_protected(there):
            continue
        if there.managed and not there.locked:
            yield GrantStep("lock", access.site, there.account)
        if there.managed or there.account.host == STAGING_HOST:
            yield GrantStep("drop account", access.site, there.account)


def _remarks(
    found: Comparison, given: Sequence[SiteAccess], actual: GrantFacts, policy: Policy
) -> Iterator[str]:
    if not actual.server.shows_source:
        yield f"{actual.me} may not see whether the server is a stopped replica: GRANT REPLICA MONITOR TO it"
    for access, facts in found.stale:
        if not (policy.drop_stale and access.complete):
            yield f"{facts.account} is not at a node that was observed; it is left alone"
    for row in sorted(find_exposure(given, actual)):
        yield f"{row.kind}: {row.site}: {row.account}: {row.detail}"


def _phase(step: GrantStep) -> int:
    if step.removes:
        return _REMOVAL_ORDER[step.kind]
    if step.account and step.account.host == STAGING_HOST:
        return 1
    return _ORDER[step.kind]
