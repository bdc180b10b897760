"""What a contender is: a way to bring a source tree to all nodes, with the same effect as the others."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

RUN_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Usage:
    """What one distribution took: wall and controller CPU seconds, and named shares of the wall time."""

    seconds: float
    cpu: float
    parts: Mapping[str, float] = field(default_factory=dict)


class Contender(Protocol):
    """One way of distributing code. `destination` is where the tree ends up on a node."""

    name: str
    label: str
    destination: str

    def prepare(self) -> None:
        """Get ready, once, before anything is measured."""

    def reset(self) -> None:
        """Leave nothing of the tree on the nodes, and nothing remembered on the controller."""

    def run(self) -> Usage:
        """Make all nodes hold the source as it is now; raises when one of them may not."""

    def settle(self) -> None:
        """Wait until the nodes have done what `run` left them to do on their own."""

    def close(self) -> None:
        """End what `prepare` started."""


class Failed(Exception):  # noqa: N818 - reads as the verdict it is
    """A contender did not do what it is measured for."""


def run_command(argv: Sequence[str], *, stdin: str = "", env: Mapping[str, str] | None = None) -> Usage:
    """Run a program to its end; returns what it and its children took, or raises Failed."""
    started, before = time.perf_counter(), cpu_seconds()
    done = subprocess.run(
        argv, input=stdin, env=env, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    usage = Usage(time.perf_counter() - started, cpu_seconds() - before)
    if done.returncode != 0:
        raise Failed(f"{argv[0]} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}")
    return usage


def cpu_seconds() -> float:
    """User and system CPU time of this process and of its children that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in spent)
