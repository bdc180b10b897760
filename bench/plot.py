"""The results as one picture: a panel a scenario, a bar a contender, a dot a run."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from bench.report import Report
from bench.results import JUDGED, SCENARIOS, TARGET, TITLES, YARDSTICK

OURS = {"engine": "#2f6db5", JUDGED: "#17406d"}
OTHERS = "#b9bec6"


def draw(report: Report, file: Path) -> None:
    """Write the picture as PNG."""
    names = [name for name in report.labels if any((name, s) in report.figures for s in SCENARIOS)]
    figure = Figure(figsize=(13, 1.6 + 0.55 * len(names)))
    panels = figure.subplots(1, len(SCENARIOS), sharey=True)
    for panel, scenario in zip(panels, SCENARIOS, strict=True):
        for place, name in enumerate(names):
            if (name, scenario) not in report.figures:
                continue
            seconds = report.figures[name, scenario].seconds
            runs = [s.seconds for s in report.samples if (s.contender, s.scenario) == (name, scenario)]
            panel.barh(place, seconds, color=OURS.get(name, OTHERS), height=0.62)
            panel.plot(runs, [place] * len(runs), "o", color="#222222", markersize=3, alpha=0.6)
            panel.annotate(
                f"{seconds:.2f} s",
                (max(runs), place),
                (6, 0),
                textcoords="offset points",
                va="center",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )
        if (YARDSTICK, scenario) in report.figures:
            limit = TARGET * report.figures[YARDSTICK, scenario].seconds
            panel.axvline(limit, color="#b3261e", linestyle="--", linewidth=1)
        panel.set_title(TITLES[scenario])
        panel.set_xlabel("seconds")
        panel.margins(x=0.22)
        panel.set_xlim(left=0)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    panels[0].set_yticks(range(len(names)), [report.labels[name] for name in names])
    panels[0].invert_yaxis()
    figure.suptitle(
        f"{report.files:,} files, {report.size / 1e6:.0f} MB to {report.nodes} nodes on one machine: "
        f"median and every run; dashed: {TARGET} times the parallel rsync",
        fontsize=10,
    )
    figure.tight_layout()
    figure.savefig(file, dpi=130)
