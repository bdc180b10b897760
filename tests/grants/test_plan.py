"""The planner of grants: golden cases, and what holds for every case."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tasks.errors import PlanRefused
from tasks.fleet import Database
from tasks.grants.apply import outcome_of
from tasks.grants.plan import plan_grants
from tasks.grants.spelling import escape_pattern
from tasks.grants.values import (
    MARKER_ROLE,
    SITE_PRIVILEGES,
    STAGING_HOST,
    Account,
    AccountFacts,
    DatabaseRights,
    RemovedAccess,
    SiteAccess,
    database_name,
    user_name,
)
from tests.grants.grant_server import PASSWORD, SERVER, give, simulate, taken


def account(user: str, host: str, *, managed: bool = True) -> AccountFacts:
    return AccountFacts(Account(user, host), managed, "mysql_native_password", SecretStr(PASSWORD[1]))


def test_a_new_site_is_built_aside_and_cut_in_with_everything() -> None:
    plan = plan_grants([give("a_b", hosts=("10.0.0.1",))], SERVER)
    assert str(plan).splitlines() == [
        "grants: 6 statement(s)",
        f"  1. CREATE ROLE IF NOT EXISTS `{MARKER_ROLE}`",
        "  2. CREATE USER IF NOT EXISTS `a_b`@`192.0.2.1` IDENTIFIED BY '<password>'",
        f"  3. GRANT `{MARKER_ROLE}` TO `a_b`@`192.0.2.1`",
        f"  4. GRANT {', '.join(SITE_PRIVILEGES)} ON `a\\_b`.* TO `a_b`@`192.0.2.1`",
        "  5. RENAME USER `a_b`@`192.0.2.1` TO `a_b`@`10.0.0.1`",
        "  6. CREATE DATABASE IF NOT EXISTS `a_b` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
    ]
    assert PASSWORD[0] not in str(plan) + repr(plan) + str(plan.as_rows())


def test_a_node_more_gets_its_account_and_nobody_elses_is_touched() -> None:
    before = simulate(SERVER, plan_grants([give("s")], SERVER))
    plan = plan_grants([give("s", hosts=("10.0.0.1", "10.0.0.2"))], before)
    assert [step.kind for step in plan.steps] == ["create account", "mark", "grant", "cut in"]
    assert plan.steps[-1].renamed_to == Account("s", "10.0.0.2")


def test_stale_hosts_are_dropped_only_when_asked_and_all_nodes_were_seen() -> None:
    before = simulate(SERVER, plan_grants([give("s", hosts=("10.0.0.1", "10.0.0.2"))], SERVER))
    fewer = give("s", hosts=("10.0.0.1",))
    assert not plan_grants([fewer], before)
    assert "s@10.0.0.2 is not at a node" in str(plan_grants([fewer], before))
    assert not plan_grants([replace(fewer, complete=False)], before, drop_stale=True)
    plan = plan_grants([fewer], before, drop_stale=True)
    assert [(step.kind, str(step.account)) for step in plan.steps] == [
        ("lock", "s@10.0.0.2"),
        ("drop account", "s@10.0.0.2"),
    ]


def test_an_unescaped_right_is_replaced_and_never_missed_on_the_way() -> None:
    done = simulate(SERVER, plan_grants([give("a_b")], SERVER))
    wild = replace(
        done, rights=(DatabaseRights(Account("a_b", "10.0.0.1"), "a_b", frozenset(SITE_PRIVILEGES)),)
    )
    plan = plan_grants([give("a_b")], wild)
    assert [(step.kind, step.pattern) for step in plan.steps] == [("grant", "a\\_b"), ("revoke", "a_b")]
    assert [step.kind for step in plan.additions] == ["grant"]


def test_with_partial_revokes_names_are_literal() -> None:
    literal = replace(SERVER, server=replace(SERVER.server, literal_names=True))
    assert [s.pattern for s in plan_grants([give("a_b")], literal).steps if s.kind == "grant"] == ["a_b"]


def test_more_than_the_privileges_asked_for_is_revoked() -> None:
    done = simulate(SERVER, plan_grants([give("s")], SERVER))
    more = frozenset({*SITE_PRIVILEGES, "GRANT OPTION", "EVENT"})
    plan = plan_grants([give("s")], replace(done, rights=(replace(done.rights[0], privileges=more),)))
    assert [(step.kind, step.privileges) for step in plan.steps] == [("revoke", ("EVENT", "GRANT OPTION"))]


def test_another_password_is_altered() -> None:
    done = simulate(SERVER, plan_grants([give("s")], SERVER))
    plan = plan_grants([replace(give("s"), password=SecretStr("other"))], done)
    assert [step.kind for step in plan.steps] == ["alter"]


def test_a_site_without_a_password_gets_no_account_and_the_others_get_theirs() -> None:
    bare = replace(give("bare"), password=SecretStr(""))
    with pytest.raises(PlanRefused, match=r"bare has no database password\. Run add-site"):
        plan_grants([bare], SERVER)
    plan = plan_grants([bare, give("s")], SERVER)
    assert {step.site for step in plan.steps if step.site} == {"s"}
    assert "bare has no database password" in plan.refused[0]


@pytest.mark.parametrize(
    "host", ["%", "10.0.0.%", "web1", "", "127.0.0.1", "10.0.0.0/8", "FE80::1", STAGING_HOST]
)
def test_only_exact_addresses_are_granted(host: str) -> None:
    with pytest.raises(PlanRefused, match="not one exact address"):
        plan_grants([give("s", hosts=(host,))], SERVER)


def test_no_address_at_all_is_refused() -> None:
    with pytest.raises(PlanRefused, match="no node of s was seen"):
        plan_grants([give("s", hosts=())], SERVER)


@pytest.mark.parametrize("host", ["%", "10.0.0.1", "10.9.9.9"])
def test_a_namesake_that_is_not_ours_is_refused(host: str) -> None:
    facts = replace(SERVER, accounts=(*SERVER.accounts, account("s", host, managed=False)))
    with pytest.raises(PlanRefused, match="ADOPTION_REQUIRED"):
        plan_grants([give("s")], facts)


def test_a_database_that_is_not_ours_is_refused_to_be_used_and_to_be_dropped() -> None:
    facts = replace(SERVER, databases=frozenset({"s"}))
    for desired in (give("s"), RemovedAccess("s", "s", "s")):
        with pytest.raises(PlanRefused, match="ADOPTION_REQUIRED: the database"):
            plan_grants([desired], facts)


def test_a_site_whose_rights_were_all_revoked_gets_them_again_and_can_be_removed() -> None:
    done = simulate(SERVER, plan_grants([give("s", ("10.0.0.1", "10.0.0.2"))], SERVER))
    revoked = replace(done, rights=())
    plan = plan_grants([give("s", ("10.0.0.1", "10.0.0.2"))], revoked)
    assert [(step.kind, str(step.account)) for step in plan.steps] == [
        ("grant", "s@10.0.0.1"),
        ("grant", "s@10.0.0.2"),
    ]
    assert simulate(revoked, plan).rights == done.rights
    assert "drop database" in [
        step.kind for step in plan_grants([RemovedAccess("s", "s", "s")], revoked).steps
    ]


@pytest.mark.parametrize(
    "there",
    [
        account("s", "10.0.0.1", managed=False),
        account("other", "10.0.0.1"),
        account("s", STAGING_HOST),
        replace(account("s", "10.0.0.9"), privileges=frozenset({"SUPER"})),
    ],
)
def test_a_database_is_ours_by_no_other_account_than_a_finished_one_of_its_user(there: AccountFacts) -> None:
    facts = replace(SERVER, accounts=(*SERVER.accounts, there), databases=frozenset({"s"}))
    with pytest.raises(PlanRefused):
        plan_grants([give("s")], facts)
    with pytest.raises(PlanRefused, match="ADOPTION_REQUIRED: the database"):
        plan_grants([RemovedAccess("s", "s", "s")], facts)


@pytest.mark.parametrize("name", ["mysql", "sys", "test", "test_x", "", "x" * 65, "_" * 33, "MySQL"])
def test_databases_of_the_server_are_refused(name: str) -> None:
    with pytest.raises(PlanRefused, match="cannot be the database"):
        plan_grants([replace(give("s"), database=name)], SERVER)


@pytest.mark.parametrize("user", ["root", "", "mysql.sys", "packmaster", MARKER_ROLE, "u" * 33])
def test_users_of_the_server_are_refused(user: str) -> None:
    with pytest.raises(PlanRefused, match="cannot be the database user"):
        plan_grants([replace(give("s"), user=user)], SERVER)


def test_two_sites_cannot_share_a_database() -> None:
    with pytest.raises(PlanRefused, match="given to s and to t"):
        plan_grants([give("s"), replace(give("t"), database="s")], SERVER)


def test_a_read_only_server_is_refused_only_when_there_is_work() -> None:
    done = simulate(SERVER, plan_grants([give("s")], SERVER))
    frozen = replace(SERVER.server, read_only=True)
    assert not plan_grants([give("s")], replace(done, server=frozen))
    with pytest.raises(PlanRefused, match="read-only"):
        plan_grants([give("s")], replace(SERVER, server=frozen))


def test_removing_drops_the_database_first_so_that_a_cut_off_run_can_be_finished() -> None:
    done = simulate(SERVER, plan_grants([give("s", hosts=("10.0.0.1", "10.0.0.2"))], SERVER))
    plan = plan_grants([RemovedAccess("s", "s", "s")], done)
    assert [step.kind for step in plan.steps] == [
        "lock",
        "lock",
        "drop database",
        "drop account",
        "drop account",
    ]
    after = simulate(done, plan)
    assert taken(after, "s") == []
    assert not plan_grants([RemovedAccess("s", "s", "s")], after)


names = st.text("ab_%`'\\", min_size=1, max_size=8).map(lambda text: f"n{text}")
addresses = st.sets(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1"]), min_size=1)
sites = st.dictionaries(names, addresses, min_size=1, max_size=3)


def accesses(wanted: dict[str, set[str]]) -> list[SiteAccess]:
    return [give(name, hosts=tuple(sorted(hosts))) for name, hosts in wanted.items()]


@settings(deadline=None, max_examples=12)
@given(sites, sites)
def test_one_run_converges_from_anywhere(first: dict[str, set[str]], second: dict[str, set[str]]) -> None:
    start = simulate(SERVER, plan_grants(accesses(first), SERVER))
    end = simulate(start, plan_grants(accesses(second), start, drop_stale=True))
    assert not plan_grants(accesses(second), end, drop_stale=True)
    for name, hosts in second.items():
        assert taken(end, name) == sorted(hosts)


@settings(deadline=None, max_examples=12)
@given(sites, st.integers(0, 40))
def test_a_run_killed_anywhere_is_finished_by_the_next(wanted: dict[str, set[str]], at: int) -> None:
    plan = plan_grants(accesses(wanted), SERVER)
    killed = simulate(SERVER, replace(plan, steps=plan.steps[:at]))
    end = simulate(killed, plan_grants(accesses(wanted), killed))
    assert not plan_grants(accesses(wanted), end)


@settings(deadline=None, max_examples=12)
@given(sites)
def test_the_order_of_the_sites_does_not_matter(wanted: dict[str, set[str]]) -> None:
    forward = plan_grants(accesses(wanted), SERVER)
    assert forward == plan_grants(accesses(wanted)[::-1], SERVER)


@settings(deadline=None, max_examples=12)
@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789.-", min_size=1, max_size=253))
def test_names_fit_every_server_and_keep_clear_of_test_databases(uri: str) -> None:
    assert len(escape_pattern(database_name(uri))) <= 64
    assert len(user_name(uri)) <= 32
    assert database_name(uri).startswith("site_")


def test_sites_that_differ_in_punctuation_only_get_different_names() -> None:
    for naming in (database_name, user_name):
        assert len({naming(uri) for uri in ("a-b.org", "a.b.org", "ab.org")}) == 3


def test_an_outcome_tells_what_was_reached_not_every_statement() -> None:
    database = Database("db", "10.0.0.9", "packmaster", SecretStr("x"))
    outcome = outcome_of(database, "give access", plan_grants([give("s")], SERVER).steps)
    assert str(outcome) == (
        "db: give access: changed (create role, new account s@10.0.0.1, create database s)"
    )
