"""The process that our own contenders run in: `python -m bench.worker engine|flow SETTINGS`.

It answers `prepare` and `run` on standard input with a JSON line each. Its start, and the imports, are not
measured, as they are not for a worker that is running; connections are made anew by every run.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from bench.bed import Bed, describe
from bench.contender import cpu_seconds
from tasks.ssh import disconnect_all


class Distribution(Protocol):
    """What bench.engine and bench.flow offer."""

    def prepare(self, bed: Bed, platform: str) -> None:
        """Get ready, once."""

    def distribute(
        self, bed: Bed, source: Path, platform: str
    ) -> tuple[float, Callable[[], Mapping[str, float]]]:
        """Make `source` current on all nodes; gives the seconds, and what tells where they went."""


def main(argv: list[str]) -> int:
    """Answer until standard input ends."""
    what, settings = argv[0], json.loads(argv[1])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed goes to the log
    distribution: Distribution = importlib.import_module(f"bench.{what}")
    bed = describe(settings["nodes"])
    source, platform = Path(settings["source"]), settings["platform"]
    words: dict[str, Callable[[], dict[str, Any]]] = {
        "prepare": lambda: _prepare(distribution, bed, platform),
        "run": lambda: _measure(distribution, bed, source, platform),
    }
    for line in sys.stdin:
        try:
            answer = words[line.strip()]()
        except Exception as failure:  # it is handed to the parent, which raises
            traceback.print_exc()
            answer = {"error": f"{type(failure).__name__}: {failure}"[:2000]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    disconnect_all()
    return 0


def _prepare(distribution: Distribution, bed: Bed, platform: str) -> dict[str, Any]:
    distribution.prepare(bed, platform)
    return {}


def _measure(distribution: Distribution, bed: Bed, source: Path, platform: str) -> dict[str, Any]:
    disconnect_all()
    before = cpu_seconds()
    seconds, explain = distribution.distribute(bed, source, platform)
    cpu = cpu_seconds() - before
    return {"seconds": seconds, "cpu": cpu, "parts": dict(explain())}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
