"""Programs that move bulk data from here: large pipes, read as they go, bounded, and ended for certain."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from tasks.errors import Unreachable

# The wall clock that ends a transfer: the network is watched, but not a file system that hangs.
FLOOR_SECONDS = 600.0
SLOWEST_BYTES_PER_SECOND = 256 * 1024
# Not more, for what all pipes of a user may hold together is limited (pipe(7)).
PIPE_BYTES = 256 * 1024
KEPT_BYTES = 16 * 1024
READ_SECONDS = 0.1

# Percent and bytes.
Progress = Callable[[int, int], None]
Reader = Callable[[bytes], None]
Pipe = IO[bytes]


@dataclass(frozen=True, slots=True)
class Program:
    """What to run, and who is handed the last of what it prints, or says of errors, as it comes."""

    argv: Sequence[str]
    on_output: Reader | None = None
    on_error: Reader | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended (negative is a signal), with the last of what it printed and said."""

    status: int
    printed: bytes
    said: bytes


def deadline_for(size: int) -> float:
    """The seconds in which so many bytes must have gone."""
    return FLOOR_SECONDS + size / SLOWEST_BYTES_PER_SECOND


def run_together(programs: Sequence[Program], *, stdin: int, seconds: float, host: str) -> list[Ended]:
    """Each program read what the one before it printed, the first one `stdin`, and all have ended.

    They end when we do. After `seconds` they are killed, and Unreachable(`host`) is raised.
    """
    ends = time.monotonic() + seconds
    children: list[subprocess.Popen[bytes]] = []
    readers: dict[Pipe, Reader | None] = {}
    try:
        for program in programs:
            before = _pipes_of(children[-1])[0] if children else None
            children.append(_start(program.argv, before or stdin))
            if before is not None:
                # Held open here, it would keep the end of its reader from the one who writes.
                before.close()
            readers[_pipes_of(children[-1])[1]] = program.on_error
        readers[_pipes_of(children[-1])[0]] = programs[-1].on_output
        kept = _read_to_the_end(readers, ends)
        statuses = [child.wait(timeout=max(ends - time.monotonic(), 1)) for child in children]
    except (TimeoutError, subprocess.TimeoutExpired) as late:
        raise Unreachable(host, f"the transfer did not finish in {seconds:.0f} s") from late
    finally:
        for child in reversed(children):
            _end(child)
    pipes = [_pipes_of(child) for child in children]
    return [Ended(s, kept.get(out, b""), kept[err]) for s, (out, err) in zip(statuses, pipes, strict=True)]


def _start(argv: Sequence[str], stdin: int | Pipe) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*_dies_with_us(), *argv],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
        start_new_session=True,
        pipesize=PIPE_BYTES,
    )


def _pipes_of(child: subprocess.Popen[bytes]) -> tuple[Pipe, Pipe]:
    assert child.stdout is not None  # noqa: S101 - for the type checker: both are pipes
    assert child.stderr is not None  # noqa: S101
    return child.stdout, child.stderr


def _read_to_the_end(readers: Mapping[Pipe, Reader | None], ends: float) -> dict[Pipe, bytes]:
    """The last of what each pipe gave until it was closed. Raises TimeoutError.

    rsync prints a line for every file, and to take each at once would cost more than the transfer: so the
    pipes are large, and are emptied the more rarely the longer it takes, every READ_SECONDS in the end.
    """
    began, kept = time.monotonic(), dict.fromkeys(readers, b"")
    with selectors.DefaultSelector() as selector:
        for pipe, reader in readers.items():
            selector.register(pipe, selectors.EVENT_READ, (pipe, reader))
        while selector.get_map():
            ready = selector.select(timeout=max(ends - time.monotonic(), 0))
            if not ready:
                raise TimeoutError
            for item, _ in ready:
                pipe, reader = item.data
                data = os.read(pipe.fileno(), PIPE_BYTES)
                if not data:
                    selector.unregister(pipe)
                kept[pipe] = (kept[pipe] + data)[-KEPT_BYTES:]
                if reader and data:
                    reader(kept[pipe])
            time.sleep(min((time.monotonic() - began) / 20, READ_SECONDS))
    return kept


def _end(child: subprocess.Popen[bytes]) -> None:
    """Leave nothing running: rsync has an ssh beneath it, so the whole group goes; bounded in any case."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    try:
        child.wait(timeout=2)
    except subprocess.TimeoutExpired:
        return
    for pipe in _pipes_of(child):
        pipe.close()


def _dies_with_us() -> Iterator[str]:
    """Without this a killed controller would leave a transfer behind that races with the next run's."""
    if shutil.which("setpriv"):
        yield from ("setpriv", "--pdeathsig", "TERM", "--")
