"""The checkers of the whole tree, as processes that run beside the tests."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKERS = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",))
CHECKER_SECONDS = 300
_running: dict[tuple[str, ...], subprocess.Popen[str]] = {}


def start(tool: tuple[str, ...]) -> None:
    """It runs, if it did not run already."""
    if tool not in _running:
        _running[tool] = subprocess.Popen(
            [sys.executable, "-m", *tool],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def finish(tool: tuple[str, ...]) -> tuple[int, str]:
    """Its exit status and what it said, once it has ended."""
    start(tool)
    said, _ = _running[tool].communicate(timeout=CHECKER_SECONDS)
    return _running[tool].returncode, said


def end_all() -> None:
    """None of them is running."""
    for process in _running.values():
        process.kill()
        process.wait()
