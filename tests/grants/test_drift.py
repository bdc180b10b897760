"""What is told of a server that differs, and how it reads."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from tasks.errors import PlanRefused
from tasks.grants.budget import Budget, BudgetExceeded
from tasks.grants.digests import sha2_digest
from tasks.grants.discover import NodeAddresses, sight
from tasks.grants.drift import GrantDrift, find_drift, find_unregistered
from tasks.grants.plan import plan_grants
from tasks.grants.values import (
    SITE_PRIVILEGES,
    Account,
    AccountFacts,
    DatabaseRights,
    Definition,
    GrantFacts,
    ObjectRights,
)
from tests.grants.grant_server import OTHER, PASSWORD, SERVER, give, native_digest, simulate

HOSTS = ("10.0.0.1", "10.0.0.2")
SITES = (give("a_b", HOSTS), give("c", HOSTS[:1]))
DONE = simulate(SERVER, plan_grants(SITES, SERVER))
FIRST = Account("a_b", "10.0.0.1")


def with_account(facts: GrantFacts, user: str, host: str, *, managed: bool = False) -> GrantFacts:
    account = AccountFacts(Account(user, host), managed, "mysql_native_password", SecretStr(PASSWORD[1]))
    return replace(facts, accounts=(*facts.accounts, account))


def with_right(facts: GrantFacts, account: Account, pattern: str, *privileges: str) -> GrantFacts:
    return replace(facts, rights=(*facts.rights, DatabaseRights(account, pattern, frozenset(privileges))))


def changed(**values: Any) -> GrantFacts:
    """The first account is otherwise."""
    accounts = tuple(replace(there, **values) if there.account == FIRST else there for there in DONE.accounts)
    return replace(DONE, accounts=accounts)


def without_rights() -> GrantFacts:
    return replace(DONE, rights=tuple(row for row in DONE.rights if row.account != FIRST))


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        (DONE, []),
        (replace(DONE, accounts=tuple(a for a in DONE.accounts if a.account != FIRST)), ["MISSING"]),
        (without_rights(), ["MISSING"]),
        (replace(DONE, databases=frozenset({"c"})), ["MISSING"]),
        (changed(locked=True), ["LOCKED"]),
        (changed(digest=SecretStr(native_digest(OTHER))), ["WRONG_HASH"]),
        (changed(others=(("mysql_native_password", SecretStr("*X")),)), ["EXTRA"]),
        (changed(privileges=frozenset({"FILE"})), ["EXTRA"]),
        (changed(roles=("reporting",)), ["EXTRA"]),
        (with_right(DONE, FIRST, "other", "SELECT"), ["EXTRA"]),
        (with_right(without_rights(), FIRST, "a\\_b", "EVENT", *SITE_PRIVILEGES), ["EXTRA"]),
        (with_right(DONE, FIRST, "a_b", "SELECT"), ["DUP_ROW"]),
        (with_right(without_rights(), FIRST, "a_b", "SELECT"), ["MISSING", "UNESCAPED"]),
        (replace(DONE, objects=(ObjectRights(FIRST, "table x.y"),)), ["EXTRA"]),
        (with_account(DONE, "a_b", "10.0.0.9", managed=True), ["STALE_HOST"]),
        (with_account(DONE, "a_b", "10.0.0.9"), ["ADOPTION_REQUIRED"]),
        (with_account(DONE, "other", "%"), []),
        (with_right(DONE, Account("PUBLIC", ""), "a%", "SELECT"), ["BROADER"]),
        (with_right(DONE, Account("PUBLIC", ""), "test\\_%", "SELECT"), []),
        (with_right(DONE, Account("reporting", ""), "a%", "SELECT"), []),
        (with_right(with_account(DONE, "", "%"), Account("", "%"), "a%", "SELECT"), ["BROADER"]),
    ],
)
def test_every_difference_has_its_name(facts: GrantFacts, found: list[str]) -> None:
    assert sorted({row.kind for row in find_drift(SITES, facts).rows}) == found


def test_accounts_of_ours_of_no_registered_site_are_told_and_nobody_elses() -> None:
    facts = with_account(with_account(DONE, "gone", "10.0.0.9", managed=True), "stranger", "10.0.0.9")
    assert not find_unregistered({"a_b", "c", "gone"}, facts)
    (row,) = find_unregistered({"a_b", "c"}, facts).rows
    assert (row.kind, row.site, row.account) == ("EXTRA", "-", "gone@10.0.0.9")


def test_a_second_password_is_no_wrong_one() -> None:
    """While it is being changed, an account takes both."""
    both = changed(
        digest=SecretStr(native_digest(OTHER)), others=(("mysql_native_password", SecretStr(PASSWORD[1])),)
    )
    assert [row.detail for row in find_drift(SITES, both).rows] == ["accepts a second password"]
    assert not plan_grants(SITES, both)


def test_salted_passwords_are_the_same_only_in_the_same_bytes() -> None:
    def salted(*digests: str) -> GrantFacts:
        accounts = [
            AccountFacts(
                Account("s", f"10.0.0.{n}"), managed=True, plugin="caching_sha2_password", digest=SecretStr(d)
            )
            for n, d in enumerate(digests, 1)
        ]
        server = replace(SERVER.server, kind="mysql")
        return replace(DONE, server=server, accounts=tuple(accounts), databases=frozenset({"s"}))

    site = give("s", ("10.0.0.1", "10.0.0.2", "10.0.0.3"))
    assert {row.kind for row in find_drift([site], salted("x", "x", "x")).rows} == {"MISSING"}
    assert [r.host for r in find_drift([site], salted("x", "y", "x")).rows if r.kind == "WRONG_HASH"] == [
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.3",
    ], "none of them is that of the password"


@pytest.mark.parametrize(("password", "wrong"), [(PASSWORD[0], []), (OTHER, ["10.0.0.1", "10.0.0.2"])])
def test_the_same_wrong_password_everywhere_is_seen_by_who_looks_thoroughly(
    password: str, wrong: list[str]
) -> None:
    """Which is what a run without logins has to do."""
    digest = sha2_digest(SecretStr(password))
    salted = replace(
        DONE,
        server=replace(SERVER.server, kind="mysql"),
        accounts=tuple(
            replace(a, plugin="caching_sha2_password", digest=digest) if a.managed else a
            for a in DONE.accounts
        ),
    )
    site = SITES[0]
    assert [row.host for row in find_drift([site], salted, thorough=True).rows] == wrong
    planned = plan_grants([site], salted, thorough=True)
    assert [step.account.host for step in planned.steps if step.account] == wrong
    assert not find_drift([site], salted), "one that is everywhere the same is taken for the right one"


def test_the_matrix_has_a_site_a_row_and_a_node_a_column() -> None:
    facts = with_right(changed(locked=True), Account("a_b", "10.0.0.2"), "other", "SELECT")
    facts = with_account(facts, "c", "10.0.0.9", managed=True)
    nodes = {"web1": ("10.0.0.1",), "web2": ("10.0.0.2",), "web3": ()}
    drift = find_drift(SITES, facts)
    assert drift.matrix(nodes) == [
        {"site": "a_b", "web1": "LOCKED", "web2": "EXTRA", "web3": "?", "site-wide": ""},
        {"site": "c", "web1": "ok", "web2": "-", "web3": "?", "site-wide": "STALE_HOST"},
    ]
    assert drift.summary == "EXTRA 1, LOCKED 1, STALE_HOST 1"
    assert [
        row["site"] for row in find_drift(SITES, changed(locked=True)).matrix(nodes, all_sites=False)
    ] == ["a_b"]
    assert not GrantDrift() + find_drift(SITES, DONE)
    assert PASSWORD[0] not in str(drift) + repr(drift)
    assert PASSWORD[1] not in str(drift) + repr(drift)


def test_a_replica_that_lacks_something_shows() -> None:
    replica = replace(changed(locked=True), rights=(), databases=frozenset({"c"}))
    rows = find_drift(SITES, DONE, {"db2": replica}).rows
    assert {row.kind for row in rows} == {"REPLICA_MISSING"}
    assert {row.server for row in rows} == {"db2"}
    assert "on db2: is locked" in {row.detail for row in rows}
    assert not find_drift(SITES, DONE, {"db2": DONE})


def test_more_than_the_budget_is_not_dropped() -> None:
    many = tuple(f"10.0.0.{n}" for n in range(1, 41))
    before = simulate(SERVER, plan_grants([give("s", many)], SERVER))
    few = give("s", many[:2])
    with pytest.raises(BudgetExceeded, match="38 of 40"):
        plan_grants([few], before, drop_stale=True)
    assert plan_grants([few], before, drop_stale=True, budget=Budget(accounts=38))
    assert plan_grants([few], before, drop_stale=True, budget=Budget(percent=95))
    assert plan_grants([give("s", many[:30])], before, drop_stale=True)


def test_a_definer_is_locked_and_not_dropped_and_the_run_is_no_success() -> None:
    facts = with_account(DONE, "a_b", "10.0.0.9", managed=True)
    facts = replace(facts, definitions=(Definition(Account("a_b", "10.0.0.9"), "view a_b.v"),))
    plan = plan_grants(SITES, facts, drop_stale=True)
    assert [step.kind for step in plan.steps] == ["lock"]
    assert "view a_b.v" in plan.refused[0]
    assert "NOT DONE" in str(plan)


def test_one_site_that_is_refused_does_not_keep_the_others_from_their_access() -> None:
    facts = with_account(SERVER, "c", "%")
    plan = plan_grants(SITES, facts)
    assert plan.sites == {"a_b"}
    assert "ADOPTION_REQUIRED" in plan.refused[0]
    with pytest.raises(PlanRefused, match="ADOPTION_REQUIRED"):
        plan_grants(SITES[1:], facts)


def test_a_server_that_follows_another_or_lost_its_cluster_is_not_written_to() -> None:
    for state in ({"follows": True}, {"galera": "non-Primary/Initialized"}, {"read_only": True}):
        with pytest.raises(PlanRefused):
            plan_grants(SITES, replace(SERVER, server=replace(SERVER.server, **state)))
        assert not plan_grants(SITES, replace(DONE, server=replace(DONE.server, **state)))
    healthy = replace(SERVER, server=replace(SERVER.server, galera="Primary/Synced"))
    assert plan_grants(SITES, healthy)


def test_a_server_that_folds_case_keeps_names_in_lower_case() -> None:
    folding = replace(SERVER, server=replace(SERVER.server, folds_case=True))
    site = replace(give("s"), database="Site_S")
    done = simulate(folding, plan_grants([site], folding))
    done = replace(done, databases=frozenset({"site_s"}))
    assert [row.pattern for row in done.rights] == ["site\\_s"]
    assert not plan_grants([site], done)


def test_the_fingerprint_is_of_what_concerns_the_sites() -> None:
    same = plan_grants(SITES, with_account(DONE, "dba", "%"))
    assert same.fingerprint == plan_grants(SITES, DONE).fingerprint
    for values in (
        {"locked": True},
        {"privileges": frozenset({"SUPER"})},
        {"roles": ("reporting",)},
        {"active_role": True},
    ):
        assert plan_grants(SITES, changed(**values)).fingerprint != same.fingerprint, values
    other = changed(digest=SecretStr(native_digest(OTHER)))
    assert plan_grants(SITES, other).fingerprint != same.fingerprint


def test_very_many_statements_are_shown_by_site() -> None:
    many = [give(f"s{n}", HOSTS) for n in range(70)]
    plan = plan_grants(many, SERVER)
    assert len(plan.as_rows()) == 71
    assert "create account (2)" in plan.as_rows()[1]["step"]
    assert len(str(plan).splitlines()) == 72


def test_nodes_that_come_from_one_address_have_lost_their_identity() -> None:
    found = {"web1": NodeAddresses(("10.0.0.9",)), "web2": NodeAddresses(("10.0.0.9", "10.0.0.2"))}
    seen = sight(found, ["web1", "web2", "web3"])
    assert seen.hosts == ("10.0.0.2", "10.0.0.9")
    assert seen.unseen == ("web3",)
    assert seen.uncertain == {"web3"}
    assert seen.shared == (("10.0.0.9", ("web1", "web2")),)
    assert "web1, web2 all as 10.0.0.9" in seen.notes[0]


def test_of_a_node_that_a_reader_did_not_answer_no_address_may_be_called_stale() -> None:
    silent = NodeAddresses(("10.0.0.1",), (("db2", "connection refused"),))
    seen = sight({"web1": silent, "web2": NodeAddresses(("10.0.0.2",))}, ["web1", "web2"])
    assert seen.seen == {"web1": ("10.0.0.1",), "web2": ("10.0.0.2",)}
    assert (seen.unseen, seen.uncertain) == ((), {"web1"})
    assert list(seen.troubles) == ["db2"]
    assert "web1 first (connection refused)" in seen.troubles["db2"]
