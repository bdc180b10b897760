"""Run a program on the controller, bounded in time; whatever it started ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tasks.errors import Unreachable
from tasks.result import Result


def run_local(
    argv: Sequence[str],
    *,
    timeout: float,
    waiting_for: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Result:
    """Run `argv` and return its Result, whatever its status.

    After `timeout` seconds its whole process group is killed and Unreachable(`waiting_for`) is raised: what
    we run here waits for somebody else's server.
    """
    started = time.monotonic()
    child = subprocess.Popen(
        argv,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as late:
        raise Unreachable(waiting_for, f"`{argv[0]}` did not finish in {timeout:.0f} s") from late
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    return Result("controller", tuple(argv), child.returncode, out, err, time.monotonic() - started)
