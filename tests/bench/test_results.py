"""Medians, ratios and verdicts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.results import OUTSIDE, Sample, Span, judge, rotate, split_time, summarise

SAMPLES = [
    *(Sample("xargs", "cold", n, s, cpu=16.0) for n, s in enumerate((10.0, 12.0, 90.0), start=1)),
    *(
        Sample("flow", "cold", n, s, cpu=8.0, parts={"stage": s / 2})
        for n, s in enumerate((13.0, 15.0, 15.0), 1)
    ),
    Sample("flow", "changed", 1, 1.0, cpu=4.0),
]


def test_medians_ignore_one_bad_run() -> None:
    figures = summarise(SAMPLES, ["xargs", "flow"], hosts=8)
    assert figures["xargs", "cold"].seconds == 12.0
    assert (figures["xargs", "cold"].fastest, figures["xargs", "cold"].slowest) == (10.0, 90.0)
    assert figures["xargs", "cold"].ratio == 1.0


def test_figures_are_per_host_and_beside_the_yardstick() -> None:
    flow = summarise(SAMPLES, ["xargs", "flow"], hosts=8)["flow", "cold"]
    assert (flow.cpu_per_host, flow.ratio, flow.runs) == (1.0, 15.0 / 12.0, 3)
    assert flow.parts == {"stage": 7.5}


def test_no_ratio_without_the_yardstick() -> None:
    figures = summarise(SAMPLES, ["xargs", "flow"], hosts=8)
    assert figures["flow", "changed"].ratio is None
    assert ("xargs", "changed") not in figures


@pytest.mark.parametrize(("slower", "met"), [(1.0, True), (1.15, True), (1.16, False)])
def test_verdict(slower: float, met: bool) -> None:
    samples = [Sample("xargs", "unchanged", 1, 100.0, 0), Sample("flow", "unchanged", 1, 100.0 * slower, 0)]
    [verdict] = judge(summarise(samples, ["xargs", "flow"], hosts=1))
    assert verdict.met is met
    assert ("met" if met else "MISSED") in str(verdict)
    assert "nothing changed" in str(verdict)


@given(st.lists(st.text(min_size=1), unique=True), st.integers(min_value=0, max_value=50))
def test_every_rotation_has_all_of_them(names: list[str], by: int) -> None:
    assert sorted(rotate(names, by)) == sorted(names)


def test_everyone_is_first_once() -> None:
    assert {rotate("abc", by)[0] for by in range(3)} == set("abc")


def test_time_of_steps_that_overlap_is_counted_once() -> None:
    spans = [Span("stage", 12.0, 15.0), Span("stage", 11.0, 14.0), Span("read", 10.0, 10.5)]
    assert split_time(6.0, spans) == {"read": 0.5, "stage": 4.0, OUTSIDE: 1.5}


def test_time_without_steps() -> None:
    assert split_time(2.0, []) == {OUTSIDE: 2.0}
