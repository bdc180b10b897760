"""The gate's script as a server runs it, with a peer that answers over TCP: an old epoch never exports."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.fencing.gate import EPOCH_PORT, GATE_FILES
from tasks.fencing.record import RECORDS, parse_record

SHARE = "files"
EXPORTED = "# ours\n/srv/p/sites 192.0.2.7(rw,sync)\n"


class Server:
    """A server's files below a directory, and its gate."""

    def __init__(self, root: Path, port: int) -> None:
        self.records, self.exports = root / "records", root / "exports.d"
        self.records.mkdir()
        self.exports.mkdir()
        self.gate = root / "gate"
        text = GATE_FILES[0].content.replace(RECORDS, str(self.records))
        text = text.replace("/etc/exports.d", str(self.exports)).replace(str(EPOCH_PORT), str(port))
        self.gate.write_text(text)
        self.listed.write_text(EXPORTED)

    @property
    def listed(self) -> Path:
        return self.exports / f"packmaster-{SHARE}.exports"

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
def answering(answer: str) -> Iterator[int]:
    """A peer that says this to whoever connects; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

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
    if not starts:
        assert "nfsd must not start yet" in done.stderr


def test_a_peer_that_is_off_keeps_nfsd_from_starting(tmp_path: Path) -> None:
    with answering("") as port:
        pass
    server = Server(tmp_path, port)
    server.record(4, "primary")
    assert server.run("guard").returncode == 1
    assert server.listed.exists()


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
