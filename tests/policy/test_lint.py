"""ruff and mypy have nothing to say."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHECKERS = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",))
SECONDS = 300


@pytest.mark.parametrize("tool", CHECKERS, ids=" ".join)
def test_it_is_clean(tool: tuple[str, ...]) -> None:
    # Once at a time: two of mypy on one cache end with an internal error.
    command = (sys.executable, "-m", *tool)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(tool)}:\n{(done.stdout + done.stderr)[-5000:]}", pytrace=False)
