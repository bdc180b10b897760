"""What is left out of the comparison differs in nothing; the rest is compared as it would be in the whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tasks.grants.compare import compare_tables
from tasks.grants.comparison import Comparison, compare
from tasks.grants.plan import plan_grants
from tasks.grants.settled import leave_out_settled
from tasks.grants.values import (
    SITE_PRIVILEGES,
    STAGING_HOST,
    Account,
    AccountFacts,
    DatabaseRights,
    GrantFacts,
    ServerFacts,
)
from tests.grants.grant_server import OTHER, PASSWORD, SERVER, give, native_digest, simulate

HOSTS = ("10.0.0.1", "10.0.0.2")
WANTED = [give(name, HOSTS) for name in ("a_b", "axb", "c")]
RIGHT = simulate(SERVER, plan_grants(WANTED, SERVER))
SALTED = [SecretStr("$A$005$one"), SecretStr("$A$005$two")]
OFTEN_RIGHT = 9

DIFFERENCES: list[dict[str, Any]] = [
    {"digest": SecretStr(native_digest(OTHER))},
    {"others": (("mysql_native_password", SecretStr(PASSWORD[1])),)},
    {"locked": True},
    {"managed": False},
]
differences = st.sampled_from(
    [
        *DIFFERENCES,
        {"digest": SecretStr(PASSWORD[1].lower())},
        {"plugin": "caching_sha2_password", "digest": SALTED[0]},
        {"plugin": "caching_sha2_password", "digest": SALTED[1]},
    ]
)
held = st.one_of(st.just(frozenset({"SELECT"})), st.just(frozenset({*SITE_PRIVILEGES, "EVENT"})))


@st.composite
def nearly_right(draw: st.DrawFn) -> GrantFacts:
    """Every site as it should be, but for a few rows; on half of the servers with salted passwords."""
    salted = draw(st.booleans())
    accounts, rights = [], []
    for facts in RIGHT.accounts:
        mine = facts
        if salted and facts.account.user != "root":
            mine = replace(facts, plugin="caching_sha2_password", digest=SALTED[0])
        if draw(st.integers(0, OFTEN_RIGHT)) == 0:
            mine = replace(mine, **draw(differences))
        if draw(st.integers(0, OFTEN_RIGHT)) > 0:
            accounts.append(mine)
    for row in RIGHT.rights:
        if draw(st.integers(0, OFTEN_RIGHT)) > 0:
            rights.append(row)
        elif draw(st.booleans()):
            rights.append(replace(row, privileges=draw(held)))
    for _ in range(draw(st.integers(0, 2))):
        host = draw(st.sampled_from([STAGING_HOST, "10.0.0.9", "%"]))
        account = Account(draw(st.sampled_from(["a_b", "axb", "c", "d"])), host)
        if account not in {there.account for there in accounts}:
            accounts.append(AccountFacts(account, True, "mysql_native_password", SecretStr(PASSWORD[1])))
            rights.append(DatabaseRights(account, "a%", draw(held)))
    kind = draw(st.sampled_from([ServerFacts("mariadb", "10.11"), ServerFacts("mysql", "9.7")]))
    return replace(RIGHT, server=kind, accounts=tuple(accounts), rights=tuple(rights))


@settings(deadline=None, max_examples=60)
@given(nearly_right(), st.booleans())
def test_nothing_that_differs_is_left_out(facts: GrantFacts, thorough: bool) -> None:
    whole = compare_tables(WANTED, facts, thorough=thorough)
    rest, narrow = leave_out_settled(WANTED, facts, thorough=thorough)
    users = {access.user for access in rest}
    assert compare(WANTED, facts, thorough=thorough) == replace(
        whole, like={user: account for user, account in whole.like.items() if user in users}
    )
    assert {there.account.user for there in narrow.accounts} <= users


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda difference: next(iter(difference)))
def test_one_account_that_differs_keeps_its_site(difference: dict[str, Any]) -> None:
    first, *others = (there for there in RIGHT.accounts if there.account.user != "root")
    facts = replace(RIGHT, accounts=(replace(first, **difference), *others))
    rest, _ = leave_out_settled(WANTED, facts, thorough=False)
    assert [access.user for access in rest] == [first.account.user]


def test_what_is_right_is_left_out() -> None:
    assert leave_out_settled(WANTED, RIGHT, thorough=True) == (
        (),
        replace(RIGHT, accounts=(), rights=()),
    )
    assert compare(WANTED, RIGHT) == Comparison()


@pytest.mark.parametrize("thorough", [False, True])
def test_a_salted_password_is_taken_for_the_right_one_unless_asked(thorough: bool) -> None:
    salted = replace(
        RIGHT,
        accounts=tuple(
            replace(there, plugin="caching_sha2_password", digest=SALTED[0]) for there in RIGHT.accounts
        ),
    )
    rest, _ = leave_out_settled(WANTED, salted, thorough=thorough)
    assert bool(rest) == thorough
    assert bool(compare(WANTED, salted, thorough=thorough).wrong) == thorough


def test_one_site_that_differs_is_compared_alone() -> None:
    lost = replace(RIGHT, accounts=tuple(a for a in RIGHT.accounts if a.account != Account("axb", HOSTS[1])))
    rest, narrow = leave_out_settled(WANTED, lost, thorough=False)
    assert [access.user for access in rest] == ["axb"]
    assert [there.account for there in narrow.accounts] == [Account("axb", HOSTS[0])]
    assert compare(WANTED, lost).missing == ((WANTED[1], Account("axb", HOSTS[1])),)
