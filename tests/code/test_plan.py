"""What is planned: golden cases, and that what was planned and done leaves nothing to do."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.code.facts import CodeFacts, Release, parse_code_facts
from tasks.code.plan import plan_release, plan_rollback
from tasks.code.release import Desired, ReleasePlan, Size
from tasks.errors import PlanRefused

NOW = datetime(2026, 11, 23, 3, 0, 0)
A, B = "a" * 64, "b" * 64
FULL, SMALL = Size(100, 100_000_000), Size(2, 2_000)


def name(number: int, content: str = A) -> str:
    return f"{NOW - timedelta(days=30) + timedelta(hours=number):%Y%m%d%H%M%S}-{content[:12]}"


def release(number: int, content: str = A, seen: str = "") -> Release:
    return Release(name(number, content), content, "same", seen)


def host(*releases: Release, current: str | None = None, leftovers: tuple[str, ...] = ()) -> CodeFacts:
    return CodeFacts(releases, current, leftovers, 10**10, 10**6)


def want(content: str, *bases: str) -> Desired:
    return Desired(content, FULL, dict.fromkeys(bases, SMALL))


def done(plan: ReleasePlan, facts: dict[str, CodeFacts]) -> dict[str, CodeFacts]:
    """What the hosts look like when every step of the plan was done."""
    after = {}
    for part in plan.hosts:
        was = facts[part.host]
        kept = [r for r in was.releases if r.name not in part.prune]
        if part.stage:
            kept = [r for r in kept if r.name != plan.release] + [Release(plan.release, plan.content, "same")]
        left = [n for n in was.leftovers if n not in part.prune and n != f".staging-{plan.release}"]
        current = plan.release if part.switch else was.current
        after[part.host] = replace(
            was, releases=tuple(sorted(kept, key=lambda r: r.name)), current=current, leftovers=tuple(left)
        )
    return after


def test_the_first_release() -> None:
    plan = plan_release("shop", want(A), {"w1": host(), "w2": host()}, now=NOW)
    assert plan.release == f"20261123030000-{A[:12]}"
    assert plan.staging_hosts == plan.switching_hosts == ("w1", "w2")
    assert all(part.base is None and part.size == FULL and part.previous is None for part in plan.hosts)
    steps = "stage whole (100 entries, 100,000,000 bytes); switch from nothing"
    assert steps in str(plan)
    assert [(row["host"], row["step"]) for row in plan.as_rows()] == [("w1", steps), ("w2", steps)]


def test_nothing_to_do() -> None:
    facts = {h: host(release(1), current=name(1)) for h in ("w1", "w2")}
    plan = plan_release("shop", want(A), facts, now=NOW)
    assert not plan
    assert plan.release == name(1)
    assert "nothing to do" in str(plan)


def test_a_change_is_staged_from_what_is_current() -> None:
    plan = plan_release("shop", want(B, A), {"w1": host(release(1), current=name(1))}, now=NOW)
    assert (plan.hosts[0].base, plan.hosts[0].size, plan.hosts[0].previous) == (name(1), SMALL, name(1))


def test_a_base_whose_manifest_is_unknown_is_not_used() -> None:
    plan = plan_release("shop", want(B), {"w1": host(release(1), current=name(1))}, now=NOW)
    assert plan.hosts[0].base is None


def test_a_new_member_gets_the_release_that_the_others_have() -> None:
    facts = {"w1": host(release(1), current=name(1)), "w2": host()}
    plan = plan_release("shop", want(A), facts, now=NOW)
    assert plan.release == name(1)
    assert plan.staging_hosts == plan.switching_hosts == ("w2",)


def test_a_half_staged_release_is_continued() -> None:
    facts = {"w1": host(leftovers=(f".staging-{name(3)}", f".linking-{name(2)}"))}
    plan = plan_release("shop", want(A), facts, now=NOW)
    assert plan.release == name(3)
    assert plan.hosts[0].prune == (f".linking-{name(2)}",)


def test_a_release_without_manifest_was_not_verified() -> None:
    plan = plan_release("shop", want(A), {"w1": host(Release(name(1)))}, now=NOW)
    assert (plan.release, plan.hosts[0].stage) == (name(1), True)


def test_drift_is_replaced_under_a_new_name_and_never_hard_linked() -> None:
    spoiled = release(1, seen="other")
    facts = {"w1": host(spoiled, current=name(1)), "w2": host(release(1, seen="same"), current=name(1))}
    plan = plan_release("shop", want(A, A), facts, now=NOW)
    assert plan.release == f"20261123030000-{A[:12]}"
    assert plan.for_host("w1").base is None
    assert plan.for_host("w2").base == name(1)
    again = plan_release("shop", want(A, A), done(plan, facts), now=NOW)
    assert not again.staging_hosts
    assert name(1) in again.for_host("w1").prune, "a spoiled release is nothing to go back to"


def test_five_are_kept_and_never_the_current_one_pruned() -> None:
    old = [release(n, f"{n:064x}") for n in range(9)]
    facts = {"w1": host(*old, current=old[0].name)}
    plan = plan_release("shop", want(B), facts, now=NOW)
    assert set(plan.hosts[0].prune) == {r.name for r in old[1:6]}
    after = done(plan, facts)
    assert len(after["w1"].releases) == 5


def test_pruning_has_a_budget() -> None:
    facts = {"w1": host(*[release(n, f"{n:064x}") for n in range(40)])}
    assert len(plan_release("shop", want(B), facts, now=NOW).hosts[0].prune) == 10


def test_below_the_quorum_nothing_is_planned() -> None:
    with pytest.raises(PlanRefused, match=r"1 host.* and 2 are needed .not read: w2"):
        plan_release("shop", want(A), {"w1": host()}, now=NOW, missing=["w2"])
    plan = plan_release("shop", want(A), {"w1": host()}, now=NOW, missing=["w2"], quorum=1)
    assert plan.missing == ("w2",)
    assert "w2: cannot be read" in str(plan)
    with pytest.raises(PlanRefused):
        plan_release("shop", want(A), {}, now=NOW, quorum=0)


def test_below_the_quorum_nothing_is_switched() -> None:
    plan = plan_release("shop", want(A), {"w1": host(), "w2": host()}, now=NOW)
    with pytest.raises(PlanRefused, match="Nothing was switched"):
        plan.without_hosts({"w2"})
    some = plan_release("shop", want(A), {"w1": host(), "w2": host()}, now=NOW, quorum=1)
    assert some.without_hosts({"w2"}).switching_hosts == ("w1",)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (CodeFacts(free_bytes=10**6, free_inodes=10**6), "1,000,000 bytes of disk are left"),
        (CodeFacts(free_bytes=10**10, free_inodes=50), "50 inodes are left"),
        (CodeFacts(free_bytes=10**10, not_writable="/var"), "/var may not be written to"),
    ],
)
def test_a_node_without_room_is_refused(facts: CodeFacts, said: str) -> None:
    with pytest.raises(PlanRefused, match=f"w1: {said}"):
        plan_release("shop", want(A), {"w1": facts, "w2": host()}, now=NOW)


def test_a_file_system_that_does_not_count_inodes_is_no_obstacle() -> None:
    assert plan_release("shop", want(A), {"w1": CodeFacts()}, now=NOW)


def test_rollback_goes_to_the_newest_that_all_have() -> None:
    facts = {
        "w1": host(release(1), release(2, B), release(3), current=name(3)),
        "w2": host(release(1), release(3), current=name(3)),
    }
    plan = plan_rollback("shop", facts)
    assert plan.release == name(1)
    assert plan.content == A
    assert plan.switching_hosts == ("w1", "w2")
    assert not plan.staging_hosts
    assert not plan_rollback("shop", done(plan, facts), to=name(1))


def test_rollback_refuses_what_is_not_everywhere_or_was_changed() -> None:
    one = host(release(1), release(2, B), current=name(2, B))
    with pytest.raises(PlanRefused, match="not every host"):
        plan_rollback("shop", {"w1": one, "w2": host(release(1))}, to=name(2, B))
    with pytest.raises(PlanRefused, match="no older release"):
        plan_rollback("shop", {"w1": host(release(1, seen="x"), release(2, B), current=name(2, B))})
    with pytest.raises(PlanRefused, match="not the name of a release"):
        plan_rollback("shop", {"w1": one}, to="../../etc")


def test_facts_are_parsed() -> None:
    good = name(1)
    facts = parse_code_facts(
        f"free   123 456\ncurrent releases/{good}\nrelease {good}\nnote content {A}\nnote listing {B}\n"
        f"seen {B}\nrelease 123-nonsense\nnote content {B}\nleftover .staging-{good}\n"
    )
    assert facts == CodeFacts((Release(good, A, B, B),), good, (f".staging-{good}",), 123, 456)
    assert parse_code_facts("free - -\n") == CodeFacts()
    assert parse_code_facts("readonly /var\nfree 1 2\n").not_writable == "/var"


contents = st.sampled_from([A, B, "c" * 64])
some_releases = st.builds(
    Release,
    st.builds(name, st.integers(0, 20), contents),
    st.just(""),
    st.just("same"),
    st.sampled_from(["", "same", "other"]),
).flatmap(lambda r: st.sampled_from([r, replace(r, content=r.name[-1] * 64)]))


@st.composite
def some_hosts(draw: st.DrawFn) -> CodeFacts:
    releases = draw(st.lists(some_releases, max_size=8, unique_by=lambda r: r.name))
    current = draw(st.sampled_from([None, *(r.name for r in releases)]))
    left = draw(
        st.lists(st.builds(lambda n: f".staging-{name(n)}", st.integers(0, 20)), max_size=3, unique=True)
    )
    ordered = tuple(sorted(releases, key=lambda r: r.name))
    return CodeFacts(ordered, current, tuple(left), 10**10, 10**6)


@given(
    st.dictionaries(st.sampled_from(["w1", "w2", "w3"]), some_hosts(), min_size=1),
    contents,
    st.sets(contents),
)
def test_what_was_planned_and_done_leaves_nothing_to_do(
    facts: dict[str, CodeFacts], content: str, bases: set[str]
) -> None:
    desired = Desired(content, FULL, dict.fromkeys(bases, SMALL))
    for _ in range(4):  # pruning has a budget, so it may take more than one run
        plan = plan_release("shop", desired, facts, now=NOW)
        for part in plan.hosts:
            assert facts[part.host].current not in part.prune
            assert plan.release not in part.prune
        facts = done(plan, facts)
        assert all(f.current == plan.release for f in facts.values())
    plan = plan_release("shop", desired, facts, now=NOW)
    assert not plan, str(plan)


def test_what_was_left_while_linking_or_removing_is_not_continued() -> None:
    facts = {"w1": host(leftovers=(f".linking-{name(3)}", f".trash-{name(4)}"))}
    plan = plan_release("shop", want(A), facts, now=NOW)
    assert plan.release == f"20261123030000-{A[:12]}"
    assert plan.for_host("w1").prune == (f".linking-{name(3)}", f".trash-{name(4)}")
