"""A password on its way from old to new: planned from any state, without a moment in which neither works."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tasks.grants.digests import sha2_digest, sha2_matches
from tasks.grants.rotate import shown
from tasks.grants.rotation import (
    Accepted,
    RotationPlan,
    Secret,
    ServerKind,
    plan_rotation,
    take_step,
)
from tasks.grants.values import Account

HERE, THERE = Account("s", "10.0.0.1"), Account("s", "10.0.0.2")
KINDS: tuple[ServerKind, ...] = ("mariadb", "mysql")
State = dict[Account, tuple[Secret, ...]]


def plan(state: State, kind: ServerKind) -> RotationPlan:
    return plan_rotation("s", [Accepted(account, secrets) for account, secrets in state.items()], kind)


def test_on_mysql_one_statement_is_over_all_accounts() -> None:
    both = plan({HERE: ("old",), THERE: ("old",)}, "mysql")
    assert [shown(step) for step in both.steps] == [
        "ALTER USER `s`@`10.0.0.1` IDENTIFIED WITH caching_sha2_password AS '<new>' RETAIN CURRENT PASSWORD, "
        "`s`@`10.0.0.2` IDENTIFIED WITH caching_sha2_password AS '<new>' RETAIN CURRENT PASSWORD",
        "ALTER USER `s`@`10.0.0.1` DISCARD OLD PASSWORD, `s`@`10.0.0.2` DISCARD OLD PASSWORD",
    ]
    assert [step.closing for step in both.steps] == [False, True]


def test_on_mariadb_either_method_is_accepted_and_then_one() -> None:
    native = "mysql_native_password USING"
    assert [shown(step) for step in plan({HERE: ("old",)}, "mariadb").steps] == [
        f"ALTER USER `s`@`10.0.0.1` IDENTIFIED VIA {native} '<new>' OR {native} '<old>'",
        f"ALTER USER `s`@`10.0.0.1` IDENTIFIED VIA {native} '<new>'",
    ]


def test_a_second_password_of_an_earlier_rotation_does_not_outlive_this_one() -> None:
    steps = plan({HERE: ("old", "other")}, "mysql").steps
    assert [step.kind for step in steps] == ["discard", "add new", "discard"]
    # The one that is in use may be the second; it becomes the first before the second is discarded.
    steps = plan({HERE: ("other", "old")}, "mysql").steps
    assert [step.kind for step in steps] == ["set old", "discard", "add new", "discard"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_done_is_not_done_again(kind: ServerKind) -> None:
    assert not plan({HERE: ("new",), THERE: ("new",)}, kind)
    half = plan({HERE: ("new", "old"), THERE: ("old",)}, kind)
    assert [step.accounts for step in half.opening] == [(THERE,)]
    assert str(plan({HERE: ("new",)}, kind)) == "s: only the new password is accepted"


names = st.sampled_from(["old", "new", "other"])
mysql_states = st.lists(names, min_size=1, max_size=2).map(tuple)
mariadb_states = st.lists(names, min_size=1, max_size=3).map(tuple)


@settings(deadline=None)
@given(st.data(), st.sampled_from(KINDS), st.integers(0, 8))
def test_killed_anywhere_it_converges_and_the_old_one_works_until_the_closing(
    data: st.DataObject, kind: ServerKind, killed_after: int
) -> None:
    states = mysql_states if kind == "mysql" else mariadb_states
    state: State = {HERE: data.draw(states), THERE: data.draw(states)}
    used_to_work = [account for account in state if "old" in state[account]]
    for step in plan(state, kind).steps[:killed_after]:
        state = take_step(state, step)
        assert step.closing or all("old" in state[account] for account in used_to_work)
    again = plan(state, kind)
    for step in again.opening:
        state = take_step(state, step)
    assert all("new" in secrets for secrets in state.values())
    for step in again.closing:
        state = take_step(state, step)
        assert all("new" in secrets for secrets in state.values())
    assert set(state.values()) == {("new",)}
    assert not plan(state, kind)


def test_the_rows_name_no_password() -> None:
    rows = plan({HERE: ("old",)}, "mysql").as_rows()
    assert [row["step"] for row in rows] == ["add new", "discard"]
    assert {tuple(row) for row in rows} == {("phase", "step", "accounts")}


def test_a_digest_is_what_mysql_9_7_stored_for_the_password() -> None:
    stored = SecretStr("$A$00A$MR@d\x140\x1fF\t&dO{_\x7f6h|NS/tKLSjFmlu1LxBhWrgECu918bUxn8mSvI0e/.yuOTp1")
    assert sha2_matches(stored, SecretStr("it's \\ 100% \"`"))
    assert not sha2_matches(stored, SecretStr("it's"))


def test_digests_are_salted_and_each_is_that_of_its_password() -> None:
    password = SecretStr("x" * 70)
    first, second = sha2_digest(password), sha2_digest(password)
    assert first.get_secret_value() != second.get_secret_value()
    assert sha2_matches(first, password)
    assert sha2_matches(second, password)
    assert not sha2_matches(first, SecretStr("x" * 69))
    assert not sha2_matches(SecretStr("*native"), password)
