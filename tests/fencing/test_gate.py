"""The gate's script as a server runs it, with a peer that answers over TCP: an old epoch never exports."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.fencing.gate import EPOCH_PORT, GATE_FILES, RETRY_SECONDS, WAITING
from tasks.fencing.record import RECORDS, parse_record

SHARE = "files"
EXPORTED = "# ours\n/srv/p/sites 192.0.2.7(rw,sync)\n"


class Server:
    """A server's files below a directory, and its gate."""

    def __init__(self, root: Path, port: int) -> None:
        self.records, self.exports = root / "records", root / "exports.d"
        self.records.mkdir()
        self.exports.mkdir()
        self.gate, self.waiting = root / "gate", root / "waiting"
        text = GATE_FILES[0].content.replace(RECORDS, str(self.records))
        text = text.replace("/etc/exports.d", str(self.exports)).replace(str(EPOCH_PORT), str(port))
        text = text.replace(WAITING, str(self.waiting)).replace("PATH=", f"PATH={root}:", 1)
        self.gate.write_text(text)
        self.listed.write_text(EXPORTED)

    @property
    def listed(self) -> Path:
        return self.exports / f"packmaster-{SHARE}.exports"

    def command(self, name: str, script: str) -> None:
        """The server has this command, in place of one of that name."""
        (self.gate.parent / name).write_text(f"#!/bin/sh\nfor last; do :; done\n{script}\n")
        (self.gate.parent / name).chmod(0o755)

    def record(self, epoch: int, role: str, peer: str = "127.0.0.1") -> None:
        (self.records / SHARE).write_text(f"epoch {epoch}\nrole {role}\npeer {peer}\n")

    def run(self, mode: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", self.gate, mode], capture_output=True, text=True, timeout=20, check=False
        )

    @property
    def now(self) -> str:
        return str(parse_record((self.records / SHARE).read_text()))


@contextmanager
def answering(answer: str, port: int = 0) -> Iterator[int]:
    """A peer that says this to whoever connects; gives its port."""
    with socket.create_server(("127.0.0.1", port)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(answer.encode())

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "starts", "exports", "role"),
    [
        (f"{SHARE} 4 standby\nend\n", True, True, "primary"),
        (f"{SHARE} 3 standby\nend\n", True, True, "primary"),
        (f"{SHARE} 3 primary\nend\n", True, True, "primary"),
        (f"{SHARE} 4 fenced\nend\n", True, True, "primary"),
        (f"{SHARE} 5 primary\nend\n", True, False, "fenced"),
        (f"{SHARE} 6 fenced\nend\n", True, False, "fenced"),
        (f"{SHARE} 5 taking-over\nend\n", False, True, "primary"),
        (f"{SHARE} 4 primary\nend\n", False, True, "primary"),
        ("other 9 primary\nend\n", False, True, "primary"),
        (f"{SHARE} 4 standby\n", False, True, "primary"),
        ("", False, True, "primary"),
    ],
)
def test_a_primary_asks_before_it_exports(
    tmp_path: Path, answer: str, starts: bool, exports: bool, role: str
) -> None:
    with answering(answer) as port:
        server = Server(tmp_path, port)
        server.record(4, "primary")
        done = server.run("guard")
    assert (done.returncode == 0) is starts, done.stderr
    assert server.listed.exists() is exports
    assert server.now == f"{role} of epoch 4"
    assert server.waiting.exists() is not starts
    if not starts:
        assert "nfsd must not start yet" in done.stderr


def test_a_peer_that_is_off_keeps_nfsd_from_starting(tmp_path: Path) -> None:
    with answering("") as port:
        pass
    server = Server(tmp_path, port)
    server.record(4, "primary")
    assert server.run("guard").returncode == 1
    assert server.listed.exists()


def test_nfsd_that_waits_is_started_when_its_peer_is_back(tmp_path: Path) -> None:
    with answering("") as port:
        pass
    server, started = Server(tmp_path, port), tmp_path / "started"
    server.record(4, "primary")
    server.command("systemctl", f'[ "$1" != start ] || echo "$*" >>{started}')
    assert server.run("guard").returncode == 1
    with subprocess.Popen(["sh", server.gate, "watch"]) as watch:
        try:
            time.sleep(RETRY_SECONDS + 1)
            assert not started.exists()
            with answering(f"{SHARE} 4 standby\nend\n", port):
                # One try was made before the peer was back, and may last as long as a look at it.
                ends = time.monotonic() + 20 * RETRY_SECONDS
                while server.waiting.exists() and time.monotonic() < ends:
                    time.sleep(0.1)
                time.sleep(RETRY_SECONDS + 1)
        finally:
            watch.kill()
    assert started.read_text() == "start --no-block nfs-server\n"
    assert not server.waiting.exists()


def test_a_disk_that_is_still_to_be_mounted_is_waited_for(tmp_path: Path) -> None:
    """Systemd says that there is a job for a mount point: here, for the one that the disk's is to be."""
    server = Server(tmp_path, 1)
    server.record(4, "primary", peer="")
    asked, pending = tmp_path / "asked", tmp_path / "pending"
    pending.touch()
    server.command("systemd-escape", 'echo "$last"')
    server.command(
        "systemctl", f'echo "$last" >>{asked}\n[ "$last" != /srv ] || [ ! -e {pending} ] || echo 7'
    )
    done = server.run("guard")
    assert (done.returncode, "/srv is still to be mounted" in done.stderr) == (1, True)
    pending.unlink()
    assert server.run("guard").returncode == 0
    assert asked.read_text().split()[:3] == ["/srv/p/sites", "/srv/p", "/srv"]


def test_one_that_nobody_could_have_replaced_asks_nobody(tmp_path: Path) -> None:
    server = Server(tmp_path, 1)
    server.record(4, "primary", peer="")
    assert server.run("guard").returncode == 0
    assert server.listed.exists()


@pytest.mark.parametrize("role", ["standby", "taking-over", "fenced", "damaged"])
def test_one_that_does_not_serve_exports_nothing_whatever_is_listed(tmp_path: Path, role: str) -> None:
    server = Server(tmp_path, 1)
    server.record(4, role)
    assert server.run("guard").returncode == 0
    assert not server.listed.exists()


def test_it_says_what_it_has(tmp_path: Path) -> None:
    server = Server(tmp_path, 1)
    server.record(7, "standby")
    assert server.run("tell").stdout == f"{SHARE} 7 standby\nend\n"
