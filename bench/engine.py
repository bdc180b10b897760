"""The engine without Prefect: the same functions in the same order as the flow, under a pool of threads."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from bench.bed import Bed
from tasks.code import describe_release, parse_source, plan_release
from tasks.code.apply import prune_releases, stage_release, switch_release
from tasks.code.build import Built, build_release, load_manifest
from tasks.code.facts import read_code_facts
from tasks.code.release import ReleasePlan
from tasks.fleet import Node
from tasks.outcome import Outcome
from tasks.ssh import connect

T = TypeVar("T")

# So few that a round comes to the state in which a platform always is: each release makes an old one go.
KEEP = 2


def prepare(bed: Bed, platform: str) -> None:
    """Nothing has to be registered for the bare engine."""


def distribute(bed: Bed, source: Path, platform: str) -> tuple[float, Callable[[], Mapping[str, float]]]:
    """Build, read, plan, stage on all, switch on all, prune; raises when any host fails."""
    clock, started = Clock(), time.perf_counter()
    workdir = Path(os.environ["PACKMASTER_HOME"]) / "code"
    nodes = {node.name: node for node in bed.nodes}
    built = clock.measure("build", lambda: build_release(parse_source(str(source)), {}, workdir))
    with ThreadPoolExecutor(len(nodes)) as pool:

        def each(step: str, hosts: Iterable[str], do: Callable[[Node], T]) -> dict[str, T]:
            names = list(hosts)
            return clock.measure(
                step, lambda: dict(zip(names, pool.map(do, map(nodes.__getitem__, names)), strict=True))
            )

        content = built.manifest.digest
        facts = each("facts", nodes, lambda n: read_code_facts(connect(n), platform, content=content))
        desired = clock.measure(
            "describe", lambda: describe_release(built, platform, facts, bed.nodes, workdir)
        )
        plan = plan_release(platform, desired, facts, now=datetime.now(UTC), keep=KEEP)
        each("stage", plan.staging_hosts, lambda node: _stage(node, plan, built, workdir))
        each("switch", plan.switching_hosts, lambda n: switch_release(connect(n), platform, plan.release))
        each(
            "prune",
            plan.pruning_hosts,
            lambda node: prune_releases(connect(node), platform, plan.for_host(node.name).prune),
        )
    return time.perf_counter() - started, lambda: clock.parts


def _stage(node: Node, plan: ReleasePlan, built: Built, workdir: Path) -> Outcome:
    part = plan.for_host(node.name)
    base = load_manifest(workdir, part.base_content) if part.base else None
    return stage_release(
        connect(node), plan, built.tree, built.manifest, base=base, on_progress=lambda _percent, _sent: None
    )


class Clock:
    """Wall seconds by step, in the order they were first measured."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}

    def measure(self, step: str, work: Callable[[], T]) -> T:
        """Call `work` and add what it took to `step`."""
        started = time.perf_counter()
        result = work()
        self.parts[step] = self.parts.get(step, 0.0) + time.perf_counter() - started
        return result
