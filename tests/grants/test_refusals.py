"""What a refused statement keeps from being run, and what it does not."""

import pickle

import pytest

from tasks.errors import AccessDenied, PackmasterError
from tasks.grants.plan import plan_grants
from tasks.grants.refusals import Refusals, StatementsRefused, raise_all
from tasks.grants.values import Account, GrantStep, RemovedAccess
from tests.grants.grant_server import SERVER, after, give, simulate

HOSTS = ("10.0.0.1", "10.0.0.2")
WHY = AccessDenied("db", "1044", "Look")
DONE = simulate(SERVER, plan_grants([give("s", HOSTS), give("t", HOSTS)], SERVER))


def test_a_refused_step_stops_its_own_account_and_no_other() -> None:
    refusals = Refusals()
    refusals.add([GrantStep("lock", "s", Account("s", HOSTS[0]))], WHY)
    assert refusals.stop(GrantStep("drop account", "s", Account("s", HOSTS[0])))
    assert not refusals.stop(GrantStep("drop account", "s", Account("s", HOSTS[1])))
    assert not refusals.stop(GrantStep("revoke", "t", Account("t", HOSTS[0]), pattern="t"))


@pytest.mark.parametrize("kind", ["lock", "drop database"])
def test_of_a_site_that_is_removed_a_refusal_keeps_what_shows_that_its_database_is_ours(kind: str) -> None:
    """Whatever is refused: the next run can go on."""
    desired, facts, refusals = [RemovedAccess("s", "s", "s"), RemovedAccess("t", "t", "t")], DONE, Refusals()
    plan = plan_grants(desired, DONE)
    refused = next(step for step in plan.steps if (step.kind, step.site) == (kind, "s"))
    for step in plan.steps:
        if step == refused:
            refusals.add([step], WHY)
        elif not refusals.stop(step):
            facts = after(facts, step)
    assert "s" in facts.databases
    assert "t" not in facts.databases
    users = {there.account.user for there in facts.accounts}
    assert "s" in users
    assert "t" not in users
    again = plan_grants(desired, facts)
    assert {step.site for step in again.steps} == {"s"}
    assert simulate(facts, again).databases == frozenset()


@pytest.mark.parametrize("kind", ["create account", "mark", "grant", "cut in", "create database"])
def test_of_a_new_site_a_refusal_leaves_nothing_that_looks_like_somebody_elses(kind: str) -> None:
    desired, facts, refusals = [give("s", HOSTS), give("t", HOSTS)], SERVER, Refusals()
    for step in plan_grants(desired, SERVER).steps:
        if (step.kind, step.site) == (kind, "s"):
            refusals.add([step], WHY)
        elif not refusals.stop(step):
            facts = after(facts, step)
    assert facts.databases == {"t"}
    again = plan_grants(desired, facts)
    assert {step.site for step in again.steps} == {"s"}
    assert not plan_grants(desired, simulate(facts, again))


def test_without_the_mark_nothing_goes_on() -> None:
    with pytest.raises(AccessDenied):
        Refusals().add([GrantStep("create role")], WHY)


def test_one_error_is_itself_and_several_are_all_told() -> None:
    raise_all("db", [])
    with pytest.raises(AccessDenied):
        raise_all("db", [WHY])
    many: list[PackmasterError] = [AccessDenied("db", f"no {n}", "Look") for n in range(25)]
    with pytest.raises(
        StatementsRefused, match=r"no 0.*1 of 25 refusals(.|\n)*no 19(.|\n)*and 5 more"
    ) as raised:
        raise_all("db", many)
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
