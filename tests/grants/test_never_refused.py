"""Whatever a server is like before, and wherever a run is killed: nobody loses what he should have."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tasks.errors import PlanRefused
from tasks.grants.drift import find_drift
from tasks.grants.grant_plan import GrantPlan
from tasks.grants.plan import plan_grants
from tasks.grants.spelling import grant_pattern
from tasks.grants.values import (
    SITE_PRIVILEGES,
    STAGING_HOST,
    Account,
    AccountFacts,
    DatabaseRights,
    GrantFacts,
    ServerFacts,
    SiteAccess,
)
from tests.grants.grant_server import OTHER, PASSWORD, SERVER, after, give, may, native_digest, simulate

NAMES = ("a_b", "axb", "it`s %")
HOSTS = ("10.0.0.1", "10.0.0.2", "fd00::1")
ANY = ("%", "10.0.0.%", "10.0.0.0/255.255.255.0", "web1", STAGING_HOST, "10.0.0.9")
RIGHTS = (*SITE_PRIVILEGES, "EVENT", "GRANT OPTION")

digests = st.sampled_from([PASSWORD[1], PASSWORD[1], native_digest(OTHER)])
servers = st.sampled_from(
    [
        ServerFacts("mariadb", "10.11"),
        ServerFacts("mysql", "9.7"),
        ServerFacts("mysql", "9.7", literal_names=True),
    ]
)
privileges = st.one_of(
    st.just(frozenset(SITE_PRIVILEGES)), st.frozensets(st.sampled_from(RIGHTS), min_size=1, max_size=6)
)
patterns = st.sampled_from(["a\\_b", "a_b", "axb", "a%", "%", "it`s \\%", "it`s %"])


@st.composite
def accounts(draw: st.DrawFn) -> AccountFacts:
    user, host = draw(st.sampled_from([*NAMES, ""])), draw(st.sampled_from([*HOSTS, *HOSTS, *ANY]))
    return AccountFacts(
        Account(user, host),
        managed=bool(user) and draw(st.integers(0, 3)) > 0,
        plugin="mysql_native_password",
        digest=SecretStr(draw(digests)),
        locked=draw(st.integers(0, 5)) == 0,
    )


@st.composite
def states(draw: st.DrawFn) -> GrantFacts:
    found = {facts.account: facts for facts in draw(st.lists(accounts(), max_size=7))}
    rights = {}
    for account in found:
        for pattern in draw(st.lists(patterns, max_size=3, unique=True)):
            rights[account, pattern] = draw(privileges)
    return replace(
        SERVER,
        server=draw(servers),
        accounts=(*SERVER.accounts, *found.values()),
        rights=tuple(DatabaseRights(account, pattern, held) for (account, pattern), held in rights.items()),
        databases=draw(st.frozensets(st.sampled_from(NAMES))),
        has_marker=draw(st.booleans()),
    )


wishes = st.dictionaries(
    st.sampled_from(NAMES), st.sets(st.sampled_from(HOSTS), min_size=1), min_size=1, max_size=2
).map(lambda wanted: tuple(give(name, tuple(sorted(hosts))) for name, hosts in wanted.items()))


def planned(sites: tuple[SiteAccess, ...], facts: GrantFacts, *, adopt: bool) -> GrantPlan | None:
    try:
        return plan_grants(sites, facts, drop_stale=True, adopt=adopt)
    except PlanRefused:
        return None


@settings(deadline=None, max_examples=40)
@given(wishes, states(), st.booleans(), st.integers(0, 60))
def test_from_any_state_and_killed_anywhere(
    sites: tuple[SiteAccess, ...], start: GrantFacts, adopt: bool, killed_after: int
) -> None:
    plan = planned(sites, start, adopt=adopt)
    if plan is None:
        return
    facts = start
    for step in plan.steps[:killed_after]:
        facts = after(facts, step)
        nobody_lost(sites, start, facts, str(step))
    again = planned(sites, facts, adopt=adopt)
    assert again is not None
    for step in again.steps:
        facts = after(facts, step)
        nobody_lost(sites, start, facts, str(step))
    # After both loops: what the first one did counts too, and the second may have nothing to do.
    foreigners_are_untouched(start, facts, plan, adopt=adopt)
    assert not planned(sites, facts, adopt=adopt), "a second run has work"
    for site in sites:
        if site.site in {name for name in NAMES if not any(name in why for why in plan.refused)}:
            assert all(may(facts, site, host) == set(SITE_PRIVILEGES) for host in site.hosts)


@settings(deadline=None, max_examples=40)
@given(wishes, states(), st.booleans(), st.integers(0, 30))
def test_what_may_be_taken_before_all_is_given_costs_nobody_anything(
    sites: tuple[SiteAccess, ...], start: GrantFacts, adopt: bool, given_before: int
) -> None:
    plan = planned(sites, start, adopt=adopt)
    if plan is None:
        return
    facts = simulate(start, replace(plan, steps=plan.additions[:given_before]))
    late = planned(sites, facts, adopt=adopt)
    assert late is not None
    for step in late.safe_removals:
        facts = after(facts, step)
        nobody_lost(sites, start, facts, str(step))


def test_the_only_spelling_that_lets_a_site_in_is_not_taken_before_the_other_is_given() -> None:
    site, other = give("a_b"), give("c", ("10.0.0.1",))
    done = simulate(SERVER, plan_grants([site, replace(other, hosts=("10.0.0.1", "10.0.0.2"))], SERVER))
    respelled = tuple(replace(row, pattern=row.pattern.replace("\\_", "_")) for row in done.rights)
    by_hand = replace(done, rights=respelled)
    plan = plan_grants([site, other], by_hand, drop_stale=True)
    assert may(by_hand, site, "10.0.0.1") == set(SITE_PRIVILEGES)
    assert not may(simulate(by_hand, replace(plan, steps=plan.removals)), site, "10.0.0.1")
    assert plan.unready == {"a_b"}
    assert {step.site for step in plan.safe_removals} == {"c"}, "whoever has all of his is not kept waiting"
    assert {step.kind for step in plan.removals} > {step.kind for step in plan.safe_removals}
    ready = simulate(by_hand, replace(plan, steps=plan.additions))
    assert [s.kind for s in plan_grants([site, other], ready).safe_removals] == ["revoke"]


def nobody_lost(sites: tuple[SiteAccess, ...], start: GrantFacts, now: GrantFacts, step: str) -> None:
    for site in sites:
        for host in site.hosts:
            lost = may(start, site, host) - may(now, site, host)
            assert not lost, f"{site.user}@{host} lost {lost} by {step}"


def foreigners_are_untouched(start: GrantFacts, now: GrantFacts, plan: GrantPlan, *, adopt: bool) -> None:
    users = {step.account.user for step in plan.steps if step.account}
    for there in start.accounts:
        adopted = adopt and there.account.user in users
        if not there.managed and there.account.host != STAGING_HOST and not adopted:
            assert there in now.accounts
            assert rows(start, there.account) == rows(now, there.account)


def rows(facts: GrantFacts, account: Account) -> set[DatabaseRights]:
    return {row for row in facts.rights if row.account == account}


@settings(deadline=None, max_examples=12)
@given(wishes, states())
def test_what_is_planned_for_is_what_drift_tells(sites: tuple[SiteAccess, ...], start: GrantFacts) -> None:
    plan = planned(sites, start, adopt=False)
    told = {row.site for row in find_drift(sites, start).rows}
    if plan is None:
        assert told
        return
    leftovers = {step.site for step in plan.steps if step.account and step.account.host == STAGING_HOST}
    assert plan.sites - leftovers <= told
    done = simulate(start, plan)
    kinds = {row.kind for row in find_drift(sites, done).rows if not any(row.site in r for r in plan.refused)}
    assert kinds <= {"BROADER", "SHADOWED"}


@settings(deadline=None, max_examples=10)
@given(wishes, states(), st.randoms())
def test_the_order_of_rows_and_sites_does_not_matter(
    sites: tuple[SiteAccess, ...], start: GrantFacts, chance: random.Random
) -> None:
    shuffled = replace(
        start,
        accounts=tuple(chance.sample(start.accounts, len(start.accounts))),
        rights=tuple(chance.sample(start.rights, len(start.rights))),
    )
    assert planned(sites, start, adopt=True) == planned(sites[::-1], shuffled, adopt=True)


def test_the_wanted_spelling_is_the_servers() -> None:
    assert grant_pattern("a_b", ServerFacts("mysql", "9.7", literal_names=True)) == "a_b"
    assert grant_pattern("a_b", ServerFacts("mysql", "9.7")) == "a\\_b"
