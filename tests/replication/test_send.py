"""What send.sh sends, by a real rsync as a daemon on the connection's own input; only ssh is left out."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.replication.facts import parse_differences, parse_unlike
from tasks.scripts import read_script

# Whatever was asked for over the connection, it is the daemon that answers, as packmaster-receive does.
SSH = '#!/bin/sh\nexec rsync --server --daemon --config="{}" .\n'
DAEMON = "use chroot = no\nuid = {}\ngid = {}\nread only = no\n[data]\npath = {}\n"
# Two moments of one second.
FIRST, SECOND = 1_600_000_000_100_000_000, 1_600_000_000_200_000_000


@dataclass
class Ends:
    """A tree here and one there."""

    root: Path
    here: Path
    there: Path

    def send(self, mode: str) -> bytes:
        text = read_script("tasks.replication", "send")
        text = text.replace("/run/packmaster", str(self.root)).replace("/var/lib/packmaster", str(self.root))
        text = text.replace('ssh="ssh ', f'ssh="{self.root}/ssh ')
        args = ("files", "data", str(self.here), "", "nowhere", "22", "root", "100", mode)
        done = subprocess.run(
            ["sh", "-euc", text, "packmaster", *args],
            capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def write(self, text: str, at: int) -> None:
        (self.here / "note").write_text(text)
        os.utime(self.here / "note", ns=(at, at))


@pytest.fixture
def ends(tmp_path: Path) -> Ends:
    made = Ends(tmp_path, tmp_path / "here", tmp_path / "there")
    for tree in (made.here, made.there):
        tree.mkdir()
    (made.here / ".packmaster-sequence").write_text("1")
    config = tmp_path / "receive.conf"
    config.write_text(DAEMON.format(os.getuid(), os.getgid(), made.there))
    (tmp_path / "ssh").write_text(SSH.format(config))
    (tmp_path / "ssh").chmod(0o755)
    return made


def test_what_is_written_again_within_the_second_of_its_copy_is_listed_and_copied(ends: Ends) -> None:
    ends.write("one", FIRST)
    ends.send("copy")
    ends.write("two", SECOND)
    assert [one.name for one in parse_differences("data", ends.send("list"))] == ["note"]
    ends.send("copy")
    assert (ends.there / "note").read_text() == "two"
    assert parse_differences("data", ends.send("list")) == ()


def test_what_the_other_end_lacks_is_seen(ends: Ends) -> None:
    (ends.here / "folder").mkdir()
    ends.send("copy")
    assert parse_unlike("data", ends.send("list")) == ()
    ends.write("one", FIRST)
    (ends.here / "folder" / "empty").mkdir()
    listed = ends.send("list")
    assert {one.name for one in parse_unlike("data", listed)} == {"note", "folder/empty"}
    assert parse_differences("data", listed) == ()
