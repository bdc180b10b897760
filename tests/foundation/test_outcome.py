"""Outcomes add up, lose nothing, and say who failed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import HostsFailed
from tasks.outcome import Outcome, Outcomes

OUTCOME = st.builds(
    Outcome,
    host=st.sampled_from(["web1", "web2", "web3"]),
    step=st.sampled_from(["stage", "switch"]),
    changed=st.booleans(),
    detail=st.text(max_size=5),
    error=st.none() | st.text(max_size=5),
    seconds=st.floats(0, 100),
)
OUTCOMES = st.lists(OUTCOME, max_size=6).map(tuple).map(Outcomes)


@pytest.mark.parametrize(
    ("outcome", "text"),
    [
        (Outcome("web1", "stage"), "web1: stage: unchanged"),
        (Outcome("web1", "stage", changed=True, detail="3 files"), "web1: stage: changed (3 files)"),
        (Outcome("web1", "stage", changed=True, error="disk full"), "web1: stage: failed (disk full)"),
    ],
)
def test_an_outcome_reads_as_one_line(outcome: Outcome, text: str) -> None:
    assert str(outcome) == text


def test_an_empty_error_is_still_a_failure() -> None:
    assert not Outcome("web1", "stage", error="").ok


@given(OUTCOMES, OUTCOMES, OUTCOMES)
def test_adding_is_associative_with_nothing_as_its_zero(a: Outcomes, b: Outcomes, c: Outcomes) -> None:
    assert (a + b) + c == a + (b + c)
    assert a + Outcomes() == a == Outcomes() + a
    assert a + list(b) == a + b


@given(OUTCOMES, OUTCOMES)
def test_adding_keeps_everything_in_order(a: Outcomes, b: Outcomes) -> None:
    both = a + b
    assert list(both) == [*a, *b]
    assert len(both) == len(a) + len(b)
    assert both.failed == a.failed + b.failed
    assert both.failed_hosts == a.failed_hosts | b.failed_hosts


@given(OUTCOMES)
def test_it_raises_exactly_when_a_host_failed_and_keeps_all(outcomes: Outcomes) -> None:
    if not outcomes.failed:
        outcomes.raise_if_failed()
        return
    with pytest.raises(HostsFailed) as failed:
        outcomes.raise_if_failed()
    assert failed.value.outcomes == outcomes
    assert f"{len(outcomes.failed_hosts)} host(s) failed" in str(failed.value)
    assert all(host in str(failed.value) for host in outcomes.failed_hosts)


@given(OUTCOMES)
def test_rows_show_every_outcome_failures_first(outcomes: Outcomes) -> None:
    rows = outcomes.as_rows()
    assert len(rows) == len(outcomes)
    assert [row["result"] for row in rows] == sorted(
        (row["result"] for row in rows), key=["failed", "changed", "unchanged"].index
    )
    assert all(isinstance(value, str) for row in rows for value in row.values())


def test_a_row_of_a_failure_shows_its_error_and_not_its_detail() -> None:
    outcomes = Outcomes((Outcome("web1", "stage", detail="what was tried", error="x" * 5000, seconds=1.234),))
    assert outcomes.as_rows() == [
        {"host": "web1", "step": "stage", "result": "failed", "detail": "x" * 2000, "seconds": "1.23"}
    ]
