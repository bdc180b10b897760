"""A server is out of action when that was seen, and not when a command says so."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.fencing.apply import fence, retire
from tasks.fencing.methods import fence_by_command
from tasks.fencing.record import Record, Role, parse_record
from tasks.fencing.values import ServerLook, find_doubts
from tasks.fleet import FenceCommand
from tasks.scripts import read_script
from tests.failover.scene import EXPORTS, OLD, SHARE

OFF = ServerLook("nfs1", Record(4, Role.FENCED))
# Nobody answers there, at once (RFC 5737 would be waited for).
SILENT = replace(OLD, address="127.0.0.1")


def test_a_server_that_exports_nothing_and_will_not_is_out_of_action() -> None:
    assert find_doubts(OFF, SHARE) == ()


@pytest.mark.parametrize(
    ("look", "doubt"),
    [
        (replace(OFF, record=Record(4, Role.PRIMARY)), "record says primary"),
        (replace(OFF, record=Record()), "without a record"),
        (replace(OFF, listed=True), "exports.d"),
        (replace(OFF, table=EXPORTS), "still exported"),
        (replace(OFF, kernel=EXPORTS), "still exported"),
        (replace(OFF, threads=8), "8 nfsd threads"),
    ],
)
def test_each_doubt_is_named(look: ServerLook, doubt: str) -> None:
    assert doubt in "; ".join(find_doubts(look, SHARE))


@pytest.mark.parametrize(
    ("command", "check", "off", "confirmed"),
    [
        ("true", "echo off", "off", True),
        ("false", "echo off", "off", True),
        ("true", "echo on", "off", False),
        ("true", "false", "", False),
        ("true", "true", "", True),
        ("sleep 9", "true", "", False),
        ("no-such-command", "true", "", False),
    ],
)
def test_a_command_is_believed_as_far_as_its_check_says(
    command: str, check: str, off: str, confirmed: bool
) -> None:
    fence = FenceCommand(tuple(command.split()), tuple(check.split()), off, seconds=1)
    assert fence_by_command(SILENT, fence).confirmed is confirmed


def test_a_server_that_is_to_retire_is_never_switched_off(tmp_path: Path) -> None:
    """Its SSH does not answer: a failover would go on to the command, and a planned switch must not."""
    switched = tmp_path / "switched-off"
    command = FenceCommand(("touch", str(switched)), ("true",), seconds=5)
    server = replace(SILENT, port=1, fence=command)
    outcome = retire(server, SHARE)
    assert "left running" in (outcome.error or "")
    assert not switched.exists()
    assert fence(server, SHARE).ok
    assert switched.exists()


def run(script: str, records: Path, *args: str) -> subprocess.CompletedProcess[str]:
    text = read_script("tasks.fencing", script).replace("/var/lib/packmaster/shares", str(records))
    return subprocess.run(
        ["sh", "-euc", text, "packmaster", *args], capture_output=True, text=True, timeout=10, check=False
    )


@pytest.mark.parametrize(
    ("was", "becomes", "allowed"),
    [
        (None, Record(1, Role.PRIMARY), True),
        (Record(4, Role.STANDBY), Record(5, Role.TAKING_OVER), True),
        (Record(5, Role.TAKING_OVER), Record(5, Role.PRIMARY), True),
        (Record(5, Role.PRIMARY), Record(5, Role.PRIMARY, "192.0.2.1"), True),
        (Record(4, Role.FENCED), Record(5, Role.STANDBY), True),
        (Record(4, Role.FENCED), Record(4, Role.PRIMARY), True),
        (Record(5, Role.PRIMARY), Record(5, Role.TAKING_OVER), False),
        (Record(5, Role.PRIMARY), Record(5, Role.STANDBY), False),
        (Record(6, Role.STANDBY), Record(5, Role.PRIMARY), False),
        (Record(6, Role.FENCED), Record(5, Role.PRIMARY), False),
    ],
)
def test_a_record_never_goes_back(tmp_path: Path, was: Record | None, becomes: Record, allowed: bool) -> None:
    if was is not None:
        (tmp_path / "files").write_text(f"epoch {was.epoch}\nrole {was.role}\npeer {was.peer}\n")
    done = run("set_record", tmp_path, "files", str(becomes.epoch), becomes.role.value, becomes.peer)
    assert (done.returncode == 0) is allowed, done.stderr
    now = parse_record((tmp_path / "files").read_text()) if (tmp_path / "files").exists() else None
    assert now == (becomes if allowed else was)


def test_a_claim_is_withdrawn_only_while_nothing_was_promoted(tmp_path: Path) -> None:
    file = tmp_path / "files"
    for role, after in (("taking-over", "standby of epoch 4"), ("primary", "primary of epoch 5")):
        file.write_text(f"epoch 5\nrole {role}\npeer 192.0.2.1\n")
        assert run("withdraw", tmp_path, "files", "5").returncode == 0
        assert str(parse_record(file.read_text())) == after
