"""Trees and places to build in, and git as somebody uses it."""

import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def code(tmp_path: Path) -> Path:
    root = tmp_path / "code"
    (root / "web").mkdir(parents=True)
    (root / "web/index.php").write_text("<?php echo 1;")
    (root / "web/link").symlink_to("index.php")
    return root


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


def git(*words: str, cwd: Path) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", *identity, *words], cwd=cwd, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def repository(code: Path) -> Path:
    git("init", cwd=code)
    git("add", ".", cwd=code)
    git("commit", "-m", "one", cwd=code)
    git("tag", "-a", "v1", "-m", "v1", cwd=code)
    (code / "web/index.php").write_text("<?php echo 2;")
    git("commit", "-am", "two", cwd=code)
    return code
