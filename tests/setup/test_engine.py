"""Where a Docker engine cannot be set up, somebody is told exactly what to do, and nothing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
# No engine is found by its socket, and this is another system; only for the process that looks.
ELSEWHERE = """
mount -t tmpfs none /run
printf 'ID=fedora\\n' >/run/os-release
mount --bind /run/os-release "$(readlink -f /etc/os-release)"
exec "$@"
"""
UNSHARED = ("unshare", "--mount", "sh", "-euc", ELSEWHERE, "sh")


def start_engine(*prefix: str, script: str = "docker/engine", **environment: str) -> tuple[int, str]:
    """What the script does for somebody: its exit status and what it told."""
    clean = {name: value for name, value in os.environ.items() if name != "DOCKER_HOST"}
    done = subprocess.run(
        [*prefix, str(ROOT / script)],
        env={**clean, "PACKMASTER_HOME": "/nonexistent", **environment},
        cwd="/", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.fixture
def as_root() -> None:
    # Neither another user nor another /etc/os-release can be had without it.
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else, or look at another system")


def test_an_engine_that_is_named_is_not_replaced_by_another() -> None:
    status, told = start_engine(DOCKER_HOST="unix:///nonexistent/docker.sock")
    assert status == 1
    assert "the Docker engine at DOCKER_HOST=unix:///nonexistent/docker.sock does not answer" in told
    assert "unset DOCKER_HOST" in told


def test_who_is_not_root_is_told_what_root_has_to_type(as_root: None) -> None:
    # Below /root, say: nobody could not even start the script.
    if subprocess.run([*NOBODY, "test", "-x", ROOT / "docker" / "engine"], check=False).returncode != 0:
        pytest.skip("this checkout is where only its owner can read it")
    status, told = start_engine(*NOBODY)
    assert status == 1
    assert "no Docker engine answers for user nobody" in told
    assert "adduser nobody docker" in told
    assert (
        "apt-get update && apt-get install --no-install-recommends docker.io docker-compose iptables" in told
    )
    assert "service docker start" in told


def test_on_another_system_somebody_installs_it(as_root: None) -> None:
    status, told = start_engine(*UNSHARED)
    assert status == 1
    assert "this is not Debian, so it is not installed for you" in told
    assert "'docker version' and 'docker compose version' both answer" in told


def test_what_the_controller_lacks_is_named_too(as_root: None, tmp_path: Path) -> None:
    """A path on which none of the programs is that Packmaster calls."""
    for program in ("sh", "bash", "env", "dirname", "mount", "readlink", "unshare"):
        (tmp_path / program).symlink_to(shutil.which(program) or program)
    status, told = start_engine(*UNSHARED, script="docker/controller", PATH=str(tmp_path))
    assert status == 1, told
    assert "programs are missing that Packmaster calls" in told
    assert "The Debian packages are: rsync openssh-client git curl jq" in told
