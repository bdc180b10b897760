"""The NULL call, against servers that answer, say nonsense, hang up, say nothing, or are not there."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tasks.errors import Unreachable
from tasks.liveness.bound import await_banner, call_within
from tasks.liveness.rpc import ask_null, encode_call, is_accepted
from tests.liveness.scene import SERVER

Serve = Callable[[socket.socket], None]


@contextmanager
def serving(serve: Serve) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def accept() -> None:
            sock, _ = listener.accept()
            kept.append(sock)
            serve(sock)

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        for sock in kept:
            sock.close()


def answer(*, status: int = 0, xid: int | None = None, cut: int = 28) -> Serve:
    def serve(sock: socket.socket) -> None:
        call = sock.recv(100)
        (asked,) = struct.unpack_from(">I", call, 4)
        reply = struct.pack(">7I", 0x80000018, asked if xid is None else xid, 1, 0, 0, 0, status)
        sock.sendall(reply[:cut])
        sock.close()

    return serve


def test_the_call_is_what_rfc_5531_says() -> None:
    assert encode_call(7) == struct.pack(">11I", 0x80000028, 7, 0, 2, 100003, 4, 0, 0, 0, 0, 0)


def test_a_reply_to_another_call_is_none() -> None:
    reply = struct.pack(">6I", 7, 1, 0, 0, 0, 0)
    assert is_accepted(reply, 7)
    assert not is_accepted(reply, 8)
    assert not is_accepted(reply[:20], 7)


@pytest.mark.parametrize(
    ("serve", "result"),
    [
        (answer(), "ok"),
        (answer(status=2), "odd"),
        (answer(xid=1), "odd"),
        (answer(cut=10), "refused"),
        (lambda sock: None, "silent"),
    ],
)
def test_every_kind_of_server(serve: Serve, result: str) -> None:
    began = time.monotonic()
    with serving(serve) as port:
        heard = ask_null("127.0.0.1", 0.5, port)
    assert heard.result == result, heard
    assert time.monotonic() - began < 1.0


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    heard = ask_null("127.0.0.1", 0.5, port)
    assert (heard.result, heard.detail) == ("refused", "Connection refused")


def test_what_hangs_is_left_behind() -> None:
    release = threading.Event()
    began = time.monotonic()
    with pytest.raises(Unreachable, match="nfs1 cannot be reached: no answer within"):
        call_within(0.1, "nfs1", release.wait)
    assert time.monotonic() - began < 1.0
    release.set()


def test_what_is_in_time_is_returned_or_raised() -> None:
    assert call_within(5, "nfs1", lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        call_within(5, "nfs1", lambda: 1 // 0)


def test_a_machine_that_accepts_and_says_nothing_is_not_waited_for() -> None:
    began = time.monotonic()
    with serving(lambda sock: None) as port, pytest.raises(Unreachable, match="timed out"):
        await_banner(replace(SERVER, address="127.0.0.1", port=port), 0.2)
    assert time.monotonic() - began < 1.0


def test_something_else_on_the_port_is_no_machine_of_ours() -> None:
    with serving(lambda sock: sock.sendall(b"220 mail")) as port, pytest.raises(Unreachable, match="no SSH"):
        await_banner(replace(SERVER, address="127.0.0.1", port=port), 2)
