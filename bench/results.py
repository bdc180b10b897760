"""Samples, medians and ratios. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, NamedTuple, get_args

Scenario = Literal["cold", "unchanged", "changed", "pruning"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)
TITLES: Mapping[Scenario, str] = {
    "cold": "cold",
    "unchanged": "nothing changed",
    "changed": "200 files changed",
    "pruning": "200 more, one pruned",
}
YARDSTICK = "xargs"
JUDGED = "flow"
TARGET = 1.15
OUTSIDE = "between and around the steps"


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured run: wall seconds, CPU seconds of controller and nodes, shares of the wall time."""

    contender: str
    scenario: Scenario
    round: int
    seconds: float
    cpu: float
    node_cpu: float = 0.0
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Figure:
    """One contender in one scenario: medians, fastest and slowest run. `ratio` is to the yardstick."""

    seconds: float
    fastest: float
    slowest: float
    cpu_per_host: float
    node_cpu: float
    runs: int
    ratio: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the flow is fast enough in one scenario."""

    scenario: Scenario
    ratio: float

    @property
    def met(self) -> bool:
        return self.ratio <= TARGET

    def __str__(self) -> str:
        verdict = f"{self.ratio:.2f}, target <= {TARGET}: {'met' if self.met else 'MISSED'}"
        return f"in the flow vs xargs rsync, {TITLES[self.scenario]}: {verdict}"


def rotate(names: Sequence[str], by: int) -> tuple[str, ...]:
    """The same names, starting `by` places further on, so that none is always the first."""
    start = by % len(names) if names else 0
    return (*names[start:], *names[:start])


def summarise(
    samples: Iterable[Sample], contenders: Sequence[str], hosts: int
) -> dict[tuple[str, Scenario], Figure]:
    """Medians by contender and scenario; what was not measured is not in it."""
    groups: dict[tuple[str, Scenario], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.contender, sample.scenario), []).append(sample)
    figures = {}
    for name in contenders:
        for scenario in SCENARIOS:
            if group := groups.get((name, scenario)):
                yardstick = [s.seconds for s in groups.get((YARDSTICK, scenario), [])]
                figures[name, scenario] = _figure(group, yardstick, hosts)
    return figures


def _figure(group: Sequence[Sample], yardstick: Sequence[float], hosts: int) -> Figure:
    seconds = [sample.seconds for sample in group]
    names = dict.fromkeys(name for sample in group for name in sample.parts)
    return Figure(
        seconds=median(seconds),
        fastest=min(seconds),
        slowest=max(seconds),
        cpu_per_host=median(sample.cpu for sample in group) / hosts,
        node_cpu=median(sample.node_cpu for sample in group) / hosts,
        runs=len(group),
        ratio=median(seconds) / median(yardstick) if yardstick else None,
        parts={name: median(sample.parts.get(name, 0.0) for sample in group) for name in names},
    )


def judge(figures: Mapping[tuple[str, Scenario], Figure]) -> tuple[Verdict, ...]:
    """The verdict on each scenario in which both the flow and the yardstick were measured."""
    return tuple(
        Verdict(scenario, ratio)
        for scenario in SCENARIOS
        if (figure := figures.get((JUDGED, scenario))) is not None and (ratio := figure.ratio) is not None
    )


class Span(NamedTuple):
    """When one task ran, in seconds of any clock; tasks that do the same have the same `step`."""

    step: str
    start: float
    end: float


def split_time(seconds: float, spans: Iterable[Span]) -> dict[str, float]:
    """Wall seconds of each step, from its first start to its last end, and what is left of `seconds`."""
    steps: dict[str, tuple[float, float]] = {}
    for span in spans:
        start, end = steps.get(span.step, (span.start, span.end))
        steps[span.step] = (min(start, span.start), max(end, span.end))
    ordered = sorted(steps.items(), key=lambda item: item[1])
    parts = {step: end - start for step, (start, end) in ordered}
    return {**parts, OUTSIDE: max(0.0, seconds - sum(parts.values()))}
