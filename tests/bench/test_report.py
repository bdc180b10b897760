"""What is published."""

import csv
import json
from io import StringIO
from pathlib import Path

import pytest

from bench.plot import draw
from bench.report import Report, write_csv, write_json, write_markdown
from bench.results import SCENARIOS, Sample, summarise

LABELS = {"xargs": "rsync", "ansible": "Ansible", "flow": "the flow"}
SAMPLES = (
    Sample("xargs", "cold", 1, 10.0, 16.0),
    Sample("flow", "cold", 1, 11.0, 24.0, 4.0, {"stage": 9.0}),
    Sample("xargs", "changed", 1, 1.0, 8.0),
    Sample("flow", "changed", 1, 2.0, 8.0),
)


@pytest.fixture
def report() -> Report:
    figures = summarise(SAMPLES, list(LABELS), hosts=8)
    return Report(LABELS, figures, SAMPLES, 8, 20_000, 153_000_000, 1, "2 cores", "2026-01-31")


def test_markdown(report: Report) -> None:
    text = write_markdown(report)
    assert "2026-01-31, 8 nodes, 20,000 files, 153 MB" in text
    assert "| the flow | 11.00 (1.10) |  | 2.00 (2.00) |" in text
    assert "| the flow | 3.00 + 0.50 |  | 1.00 + 0.00 |" in text
    assert "| stage | 9.00 |  |  |" in text
    assert "cold: 1.10, target <= 1.15: met" in text
    assert "200 files changed: 2.00, target <= 1.15: MISSED" in text


def test_what_was_not_measured_has_no_row(report: Report) -> None:
    assert "Ansible" not in write_markdown(report)


def test_every_table_is_rectangular(report: Report) -> None:
    widths = {line.count("|") for line in write_markdown(report).splitlines() if line.startswith("|")}
    assert widths == {2 + len(SCENARIOS)}


def test_csv_has_every_run(report: Report) -> None:
    rows = list(csv.DictReader(StringIO(write_csv(report))))
    assert [(row["contender"], row["scenario"], float(row["seconds"])) for row in rows] == [
        (s.contender, s.scenario, s.seconds) for s in SAMPLES
    ]


def test_json(report: Report) -> None:
    document = json.loads(write_json(report))
    assert document["nodes"] == 8
    assert [verdict["met"] for verdict in document["verdicts"]] == [True, False]
    assert len(document["samples"]) == len(SAMPLES)


def test_picture(report: Report, tmp_path: Path) -> None:
    draw(report, tmp_path / "results.png")
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
