"""Host tasks in real flow runs: what is retried, what turns red, and that no outcome is lost."""

from collections import Counter
from dataclasses import dataclass

import pytest
from prefect import flow, task, unmapped
from prefect.client.schemas.objects import State, StateType
from prefect.task_runners import ThreadPoolTaskRunner

from tasks import steps
from tasks.errors import AccessDenied, CommandFailed, HostsFailed, PlanRefused, Unreachable
from tasks.outcome import Outcome, Outcomes
from tasks.result import Result
from tasks.steps import Gathered, fact_task, host_task, join, join_outcomes

pytestmark = pytest.mark.usefixtures("prefect_server", "no_backoff")

RUNNER = ThreadPoolTaskRunner(max_workers=4)


@dataclass(frozen=True)
class Host:
    name: str


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "BACKOFF_SECONDS", 0)


@pytest.fixture
def calls() -> Counter[str]:
    return Counter()


def fail_with(host: str) -> Exception | None:
    result = Result(host, ("rsync",), 23, b"", b"disk full", 0.1)
    return {
        "down": Unreachable("down", "refused"),
        "denied": AccessDenied("denied", "wrong host key", "Compare it"),
        "full": CommandFailed(result),
        "refused": PlanRefused("no source"),
    }.get(host)


def test_only_what_cannot_be_reached_is_tried_again(calls: Counter[str]) -> None:
    @host_task("poke", run_name="poke {node.name}")
    def poke(node: Host, size: int) -> Outcome:
        calls[node.name] += 1
        if error := fail_with(node.name):
            raise error
        return Outcome(node.name, "poke", changed=size > 0, detail="done")

    @flow(task_runner=RUNNER)
    def poke_all(names: list[str]) -> tuple[Outcomes, list[State]]:
        futures = poke.map([Host(name) for name in names], unmapped(1))
        return join_outcomes(futures), [future.state for future in futures]

    names = ["web1", "down", "denied", "full", "refused", "web2"]
    outcomes, states = poke_all(names)

    assert calls == {"web1": 1, "web2": 1, "down": 1 + steps.RETRIES, "denied": 1, "full": 1, "refused": 1}
    # Nothing is lost, and everything is in the order that was asked for.
    assert [outcome.host for outcome in outcomes] == names
    assert outcomes.failed_hosts == {"down", "denied", "full", "refused"}
    assert {outcome.host for outcome in outcomes.changed} == {"web1", "web2"}
    assert all(outcome.seconds >= 0 for outcome in outcomes)
    by_name = dict(zip(names, states, strict=True))
    assert by_name["web1"].type == StateType.COMPLETED
    assert {by_name[name].type for name in outcomes.failed_hosts} == {StateType.FAILED}
    assert by_name["full"].message == str(next(o for o in outcomes if o.host == "full"))
    assert "disk full" in (by_name["full"].message or "")
    with pytest.raises(HostsFailed, match=r"4 host\(s\) failed"):
        outcomes.raise_if_failed()


def test_a_host_that_comes_back_succeeds_in_the_end(calls: Counter[str]) -> None:
    @host_task("poke", run_name="poke {node}")
    def poke(node: str) -> Outcome:
        calls[node] += 1
        if calls[node] < 3:
            raise Unreachable(node, "rebooting")
        return Outcome(node, "poke")

    @flow(task_runner=RUNNER)
    def poke_one() -> Outcomes:
        return join_outcomes([poke.submit("web1")])

    assert [outcome.ok for outcome in poke_one()] == [True]
    assert calls["web1"] == 3


def test_a_task_without_retries_gives_its_outcome_at_once(calls: Counter[str]) -> None:
    @host_task("poke", run_name="poke {node}", retries=0)
    def poke(node: str) -> Outcome:
        calls[node] += 1
        raise Unreachable(node, "refused")

    @flow(task_runner=RUNNER)
    def poke_one() -> Outcomes:
        return join_outcomes([poke.submit("web1")])

    assert [outcome.error for outcome in poke_one()] == ["web1 cannot be reached: refused"]
    assert calls["web1"] == 1


def test_a_log_has_our_line_for_each_host_and_none_that_only_says_completed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @host_task("poke", run_name="poke {node}")
    def poke(node: str) -> Outcome:
        if error := fail_with(node):
            raise error
        return Outcome(node, "poke", changed=True, detail="done")

    @flow(task_runner=RUNNER)
    def poke_both() -> Outcomes:
        return join_outcomes(poke.map(["web1", "full"]))

    poke_both()
    said = [record.getMessage() for record in caplog.records if record.name == "prefect.task_runs"]
    assert len([line for line in said if line.startswith("web1")]) == 1, said
    assert "Finished in state Completed()" not in said
    assert any(line.startswith("Finished in state Failed(") for line in said), said


def test_a_failed_outcome_that_is_returned_turns_the_task_red() -> None:
    @host_task("check", run_name="check {node}")
    def check(node: str) -> Outcome:
        return Outcome(node, "check", error="it answers 500")

    @flow(task_runner=RUNNER)
    def check_one() -> tuple[Outcomes, StateType]:
        future = check.submit("web1")
        outcomes = join_outcomes([future])
        return outcomes, future.state.type

    outcomes, state = check_one()
    assert outcomes.failed_hosts == {"web1"}
    assert state == StateType.FAILED


def test_facts_come_as_values_or_as_the_reason_why_not(calls: Counter[str]) -> None:
    @fact_task("read", run_name="read {node.name}")
    def read(node: Host) -> int:
        calls[node.name] += 1
        if error := fail_with(node.name):
            raise error
        return len(node.name)

    @flow(task_runner=RUNNER)
    def read_all() -> tuple[Gathered[int], ...]:
        return join(read.map([Host("web1"), Host("down"), Host("denied")]))

    seen = read_all()
    assert seen[0] == Gathered("web1", 4)
    assert seen[1] == Gathered("down", None, "down cannot be reached: refused")
    assert seen[2].value is None
    assert seen[2].as_outcome("read").error == "denied: wrong host key. Compare it"
    assert calls == {"web1": 1, "down": 1 + steps.RETRIES, "denied": 1}


def test_a_bug_is_raised_and_not_taken_for_a_failed_host(calls: Counter[str]) -> None:
    @host_task("poke", run_name="poke {node}")
    def poke(node: str) -> Outcome:
        calls[node] += 1
        raise KeyError(node)

    @flow(task_runner=RUNNER)
    def poke_one() -> Outcomes:
        return join_outcomes([poke.submit("web1")])

    with pytest.raises(KeyError):
        poke_one()
    assert calls["web1"] == 1


def test_join_gives_what_any_task_returned() -> None:
    @task
    def double(number: int) -> int:
        return 2 * number

    @flow(task_runner=RUNNER)
    def double_all() -> tuple[int, ...]:
        return join(double.map([1, 2, 3]))

    assert double_all() == (2, 4, 6)


def test_one_line_per_host_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    @host_task("poke", run_name="poke {node}")
    def poke(node: str) -> Outcome:
        return Outcome(node, "poke", changed=True, detail="2 files")

    @flow(task_runner=RUNNER)
    def poke_one() -> Outcomes:
        return join_outcomes([poke.submit("web1")])

    poke_one()
    lines = [record.getMessage() for record in caplog.records if "web1: poke" in record.getMessage()]
    assert lines == ["web1: poke: changed (2 files)"]


def test_task_runs_are_named_for_the_time_line() -> None:
    @host_task("stage release", run_name="stage {release} on {node.name}")
    def stage(node: Host, release: str) -> Outcome:
        return Outcome(node.name, "stage release", detail=release)

    assert stage.name == "stage release"
    assert stage.task_run_name == "stage {release} on {node.name}"
