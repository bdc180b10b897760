"""Results as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

from bench.results import SCENARIOS, TITLES, Figure, Sample, Scenario, judge

Figures = Mapping[tuple[str, Scenario], Figure]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was measured. `labels` are the contenders in the order of the table."""

    labels: Mapping[str, str]
    figures: Figures
    samples: Sequence[Sample]
    nodes: int
    files: int
    size: int
    rounds: int
    machine: str
    date: str


def describe_machine() -> str:
    """Cores, processor, memory and kernel, as far as this machine tells."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    models = [
        line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    processor = models[0] if models else platform.machine()
    return f"{os.cpu_count()} cores ({processor}), {memory:.0f} GiB, Linux {platform.release().split('-')[0]}"


def today() -> str:
    """The date in UTC."""
    return datetime.now(UTC).date().isoformat()


def write_markdown(report: Report) -> str:
    """The tables and the verdicts."""
    titles = [TITLES[scenario] for scenario in SCENARIOS]
    head = (
        f"{report.date}, {report.nodes} nodes, {report.files:,} files, {report.size / 1e6:.0f} MB, "
        f"medians of {report.rounds} interleaved rounds. {report.machine}; the nodes are on it too."
    )
    measured = {name: label for name, label in report.labels.items() if _was_measured(report, name)}
    rows = [
        [label, *(_show(report.figures.get((name, s))) for s in SCENARIOS)]
        for name, label in measured.items()
    ]
    costs = [
        [label, *(_show_cpu(report.figures.get((name, s))) for s in SCENARIOS)]
        for name, label in measured.items()
    ]
    lines = [
        head,
        "",
        *_table(["wall seconds (times the yardstick)", *titles], rows),
        "",
        *_table(["CPU seconds a host: controller + node", *titles], costs),
        "",
        *_parts(report),
        *(f"- {verdict}" for verdict in judge(report.figures)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def write_csv(report: Report) -> str:
    """One line a measured run."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["contender", "scenario", "round", "seconds", "controller_cpu_seconds", "node_cpu_seconds"]
    )
    for s in report.samples:
        numbers = (s.seconds, s.cpu, s.node_cpu)
        writer.writerow([s.contender, s.scenario, s.round, *(f"{number:.3f}" for number in numbers)])
    return text.getvalue()


def write_json(report: Report) -> str:
    """Everything, for programs."""
    document = {
        **{name: getattr(report, name) for name in ("date", "machine", "nodes", "files", "size", "rounds")},
        "figures": [
            {"contender": name, "scenario": scenario, **asdict(figure)}
            for (name, scenario), figure in report.figures.items()
        ],
        "samples": [asdict(sample) for sample in report.samples],
        "verdicts": [{**asdict(v), "met": v.met} for v in judge(report.figures)],
    }
    return json.dumps(document, indent=2) + "\n"


def _was_measured(report: Report, name: str) -> bool:
    return any((name, scenario) in report.figures for scenario in SCENARIOS)


def _show(figure: Figure | None) -> str:
    if figure is None:
        return ""
    ratio = "" if figure.ratio is None else f" ({figure.ratio:.2f})"
    return f"{figure.seconds:.2f}{ratio}"


def _show_cpu(figure: Figure | None) -> str:
    return "" if figure is None else f"{figure.cpu_per_host:.2f} + {figure.node_cpu:.2f}"


def _parts(report: Report) -> list[str]:
    """Where the time of the contenders goes that tell."""
    lines = []
    for name, label in report.labels.items():
        measured = [report.figures[name, s].parts if (name, s) in report.figures else {} for s in SCENARIOS]
        words = dict.fromkeys(word for parts in measured for word in parts)
        rows = [[word, *(f"{p[word]:.2f}" if word in p else "" for p in measured)] for word in words]
        if rows:
            titles = [TITLES[scenario] for scenario in SCENARIOS]
            lines += [*_table([f"seconds of: {label}", *titles], rows), ""]
    return lines


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *("---:" for _ in head[1:])]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]
