"""Interleaved rounds: every contender in every scenario, in turn, checked after each run."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from bench.bed import Bed
from bench.contender import Contender, Failed
from bench.results import SCENARIOS, Sample, Scenario, rotate
from bench.tree import Tree, change_tree, digest_tree

QUIET_SECONDS = 20.0
BUSY_SHARE = 0.15


@dataclass
class Session:
    """A measurement under way. A contender that fails is left out from then on, and named in `failed`."""

    bed: Bed
    tree: Tree
    contenders: Sequence[Contender]
    say: Callable[[str], None]
    samples: list[Sample] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    version: int = 0

    def prepare(self) -> None:
        """Get all contenders ready; those that cannot be are left out."""
        for contender in self.contenders:
            self.say(f"preparing {contender.label}")
            self._guard(contender, contender.prepare)

    def run(self, rounds: int, *, warm_up: bool) -> None:
        """Measure `rounds` rounds; round 0, when there is one, warms caches up and is not kept."""
        for number in range(0 if warm_up else 1, rounds + 1):
            self.say(f"round {number} of {rounds}" + ("" if number else " (to warm up, not kept)"))
            self._round(number)
        self.samples = [sample for sample in self.samples if sample.round > 0]

    def close(self) -> None:
        """End what the contenders started."""
        for contender in self.contenders:
            contender.close()

    def _round(self, number: int) -> None:
        for place, scenario in enumerate(SCENARIOS):
            if scenario in {"changed", "pruning"}:
                self.version += 1
                change_tree(self.tree, self.version)
            wanted = digest_tree(self.tree.root)
            names = rotate([one.name for one in self.contenders], number * len(SCENARIOS) + place)
            for contender in sorted(self.contenders, key=lambda one: names.index(one.name)):
                if contender.name not in self.failed:
                    self._guard(contender, partial(self._measure, contender, scenario, number, wanted))

    def _measure(self, contender: Contender, scenario: Scenario, number: int, wanted: str) -> None:
        if scenario == "cold":
            contender.reset()
        wait_until_quiet()
        before = self.bed.cpu_seconds()
        usage = contender.run()
        contender.settle()
        on_nodes = self.bed.cpu_seconds() - before
        self.samples.append(
            Sample(contender.name, scenario, number, usage.seconds, usage.cpu, on_nodes, usage.parts)
        )
        self.say(f"    {scenario:10} {contender.name:8} {usage.seconds:7.2f} s   {usage.cpu:6.2f} s CPU")
        node = random.choice(self.bed.nodes)
        if self.bed.digest(node, contender.destination) != wanted:
            raise Failed(f"{node.name} does not have what was sent ({scenario}, round {number})")

    def _guard(self, contender: Contender, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as failure:  # one contender's failure is reported as its own
            self.failed[contender.name] = f"{type(failure).__name__}: {failure}"
            self.say(f"{contender.label} FAILED and is left out: {failure}")


def wait_until_quiet() -> None:
    """Wait until what the run before left behind is on disk and done, or QUIET_SECONDS have passed."""
    os.sync()
    ends = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < ends:
        before = _read_cpu()
        time.sleep(0.4)
        busy, total = (now - then for now, then in zip(_read_cpu(), before, strict=True))
        if total == 0 or busy / total < BUSY_SHARE:
            return


def _read_cpu() -> tuple[int, int]:
    """Clock ticks that all processors were busy, and all ticks (proc(5), stat)."""
    with open("/proc/stat", encoding="ascii") as stream:
        ticks = [int(word) for word in stream.readline().split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)
