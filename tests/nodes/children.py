"""Flows in a process of their own, which may be killed.

Prefect and the flows take several seconds to import, so one process does that for all of them, and is forked.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["blocks", "flows.create_platform", "flows.failover_share"])
KILLED = -signal.SIGKILL


@dataclass
class Child:
    """A flow's process: what it printed, which is the state in which its run ended, and its log."""

    process: BaseProcess
    output: Path
    log: Path

    def kill(self) -> None:
        assert self.process.is_alive(), f"it was over before it could be killed: {self.log.read_text()}"
        self.process.kill()
        self.process.join(10)

    def terminate(self) -> None:
        self.process.terminate()

    def wait(self, seconds: float) -> str:
        """All that it printed, when it has ended."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"not over in {seconds} s: {self.log.read_text()}"
        return self.output.read_text()


@contextmanager
def running(function: str, *, first: str = "", dies_at: str = "", **parameters: Any) -> Iterator[Child]:
    """A flow in a process of its own, gone afterwards in any case.

    `first` is Python that is run there before it. `dies_at` is a function by its dotted name where the flow
    finds it: the process is killed, by signal 9, when it comes to that.
    """
    blocks = {name: address_of(value) for name, value in parameters.items()}
    with tempfile.TemporaryDirectory(prefix="packmaster-child-") as folder:
        output, log = (Path(folder) / name for name in ("output", "log"))
        for file in (output, log):
            file.touch()
        words = (function, blocks, first, dies_at, (output, log), dict(os.environ))
        process = FORKED.Process(target=run, args=words, daemon=True)
        process.start()
        try:
            yield Child(process, output, log)
        finally:
            process.kill()
            process.join(10)


def address_of(value: Any) -> Any:
    """A block is read anew by who uses it: its kind and name."""
    name = getattr(value, "_block_document_name", None)
    return ("block", type(value).__name__, name) if name else value


def run(
    function: str,
    parameters: Mapping[str, Any],
    first: str,
    dies_at: str,
    files: tuple[Path, Path],
    environment: Mapping[str, str],
) -> None:
    """What the process does."""
    os.environ.update(environment)
    for descriptor, file in enumerate(files, 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND), descriptor)
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    import blocks

    exec(first, {})
    if dies_at:
        module, _, name = dies_at.rpartition(".")
        setattr(import_module(module), name, Deadly())
    given = {
        name: getattr(blocks, value[1]).load(value[2]) if isinstance(value, tuple) else value
        for name, value in parameters.items()
    }
    flow = getattr(import_module(f"flows.{function}"), function)
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        state = flow(**given, return_state=True)
    print(state.name, state.message, flush=True)


class Deadly:
    """A function or task that nobody comes back from."""

    def submit(self, *_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    map = __call__ = submit
