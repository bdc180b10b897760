"""The command lines that are measured."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from bench import rsyncs
from bench.bed import Bed
from bench.contender import Failed, Usage, run_command
from tasks.fleet import Node

BED = Bed(
    tuple(
        Node(f"bench{n}", f"192.0.2.{n}", "nginx", SecretStr("secret"), ("ssh-ed25519 AAAA",)) for n in (1, 2)
    ),
    Path("/bed/key"),
    Path("/bed/known_hosts"),
)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], str]]:
    seen: list[tuple[tuple[str, ...], str]] = []

    def record(argv: tuple[str, ...], *, stdin: str = "") -> Usage:
        seen.append((argv, stdin))
        return Usage(2.0, 1.0)

    monkeypatch.setattr(rsyncs, "run_command", record)
    return seen


def test_aegir_goes_from_node_to_node(commands: list[tuple[tuple[str, ...], str]]) -> None:
    usage = rsyncs.AegirRsync(BED, Path("/source")).run()
    assert usage == Usage(4.0, 2.0)
    assert [argv[-1] for argv, _ in commands] == [f"root@192.0.2.{n}:/srv/bench/aegir/" for n in (1, 2)]
    line = commands[0][0]
    assert {"-akz", "--relative", "--keep-dirlinks", "--omit-dir-times", "--delete", "--exclude=.git"} < set(
        line
    )


def test_the_yardstick_is_one_xargs(commands: list[tuple[tuple[str, ...], str]]) -> None:
    rsyncs.XargsRsync(BED, Path("/source")).run()
    [(argv, stdin)] = commands
    assert argv[:5] == ("xargs", "-P", "8", "-I", "{}")
    assert argv[-1] == "root@{}:/srv/bench/xargs/"
    assert stdin.split() == ["192.0.2.1", "192.0.2.2"]


def test_host_keys_are_checked() -> None:
    assert "StrictHostKeyChecking=yes" in BED.ssh_options
    assert "UserKnownHostsFile=/bed/known_hosts" in BED.ssh_options


def test_a_command_is_measured_with_its_children() -> None:
    spin = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'for i in range(3000000): pass'])"
    usage = run_command(("python3", "-c", spin))
    assert usage.cpu > 0.02
    assert usage.seconds > 0.02


def test_a_command_that_fails_is_not_measured() -> None:
    with pytest.raises(Failed, match=r"ended with 3:\nbroken"):
        run_command(("sh", "-c", "echo broken; exit 3"))
