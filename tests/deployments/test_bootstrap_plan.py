"""What bootstrap would do: only what differs, only to what is ours, and never to an operator's switch."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deployments.bootstrap.plan import KINDS, Item, Step, apply_plan, plan_bootstrap

SCHEDULE = {"when": "30 2 * * *", "timezone": "UTC", "active": True, "parameters": {}}


def deployment(name: str = "resync-all", **fields: Any) -> Item:
    return Item("deployment", name, {"description": "what it does", "schedules": {}, **fields})


def test_on_an_empty_server_everything_is_made_and_what_others_need_first() -> None:
    items = [Item("automation", "a", {"enabled": True}), deployment(), Item("work pool", "p", {})]
    plan = plan_bootstrap(items, [])
    assert [(s.action, s.item.kind) for s in plan.steps] == [
        ("create", "work pool"),
        ("create", "deployment"),
        ("create", "automation"),
    ]


def test_nothing_to_do_says_so() -> None:
    plan = plan_bootstrap([deployment()], [deployment()])
    assert not plan
    assert str(plan) == "everything is as it should be"


def test_what_changed_is_named() -> None:
    plan = plan_bootstrap([deployment(description="new")], [deployment(description="old")])
    assert str(plan) == "update    deployment resync-all\n            description: 'old' -> 'new'"
    assert plan.as_rows()[0]["detail"] == "description: 'old' -> 'new'"


def test_what_is_gone_is_removed_but_never_what_may_hold_an_operators_things() -> None:
    gone = [deployment(), Item("automation", "packmaster: x", {"enabled": True})]
    kept = [Item("work pool", "p", {}), Item("block", "webhook/w", {}), Item("block type", "t", {})]
    plan = plan_bootstrap([], [*gone, *kept])
    assert plan.steps == (Step("remove", gone[1]), Step("remove", gone[0]))


def test_what_was_switched_off_stays_off_and_is_mentioned() -> None:
    wanted = [deployment(schedules={"nightly": SCHEDULE}), Item("automation", "a", {"enabled": True})]
    off = {"nightly": {**SCHEDULE, "active": False}}
    actual = [deployment(schedules=off), Item("automation", "a", {"enabled": False})]
    plan = plan_bootstrap(wanted, actual)
    assert not plan
    assert plan.notes == (
        "schedule nightly of resync-all was switched off and stays off",
        "automation a was switched off and stays off",
    )
    again = plan_bootstrap(wanted, actual, reset_switches=True)
    assert [step.action for step in again.steps] == ["update", "update"]


def test_a_schedule_that_is_off_follows_another_time_and_stays_off() -> None:
    later = {"nightly": {**SCHEDULE, "when": "0 5 * * *"}}
    off = {"nightly": {**SCHEDULE, "active": False}}
    (step,) = plan_bootstrap([deployment(schedules=later)], [deployment(schedules=off)]).steps
    assert step.item.fields["schedules"] == {"nightly": {**later["nightly"], "active": False}}


def test_the_file_can_switch_off_too() -> None:
    off = {"nightly": {**SCHEDULE, "active": False}}
    on = {"nightly": SCHEDULE}
    (step,) = plan_bootstrap([deployment(schedules=off)], [deployment(schedules=on)]).steps
    assert step.action == "update"


def test_a_lock_that_is_held_is_not_taken_from_its_holder() -> None:
    held, free = (Item("lock", name, {"limit": 1, "held": name == "held"}) for name in ("held", "free"))
    assert [step.item for step in plan_bootstrap([], [held, free]).steps] == [free]


schedules = st.dictionaries(
    st.sampled_from(["nightly", "hourly"]),
    st.fixed_dictionaries({"when": st.sampled_from(["1 * * * *", "60 s"]), "active": st.booleans()}),
    max_size=2,
)
fields = st.fixed_dictionaries({"x": st.integers(0, 2), "schedules": schedules, "enabled": st.booleans()})
keys = st.tuples(st.sampled_from(KINDS), st.sampled_from("abc"))
servers = st.dictionaries(keys, fields, max_size=6).map(
    lambda items: [Item(kind, name, fields) for (kind, name), fields in items.items()]
)


@given(servers, servers, st.booleans())
def test_a_second_run_changes_nothing(desired: list[Item], actual: list[Item], reset: bool) -> None:
    plan = plan_bootstrap(desired, actual, reset_switches=reset)
    assert not plan_bootstrap(desired, apply_plan(plan, actual), reset_switches=reset)
