"""Waits that end: what may hang is done by a thread that can be left behind, and never by the caller."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import TypeVar

from tasks.errors import Unreachable
from tasks.fleet import Machine

T = TypeVar("T")


def call_within(seconds: float, host: str, function: Callable[[], T]) -> T:
    """Return or raise what `function` does, or raise Unreachable for `host` after `seconds`.

    What is left behind then ends with its own timeouts, and does not keep the process from ending: joining a
    thread at exit is what makes an ordinary pool hang.
    """
    answer: Future[T] = Future()

    def run() -> None:
        try:
            answer.set_result(function())
        except BaseException as raised:  # it is raised again where it is waited for
            answer.set_exception(raised)

    threading.Thread(target=run, name=f"probe of {host}", daemon=True).start()
    # Not result(timeout=...): its TimeoutError could be one that `function` raised.
    wait([answer], timeout=seconds)
    if not answer.done():
        raise Unreachable(host, f"no answer within {seconds:g} s")
    return answer.result()


def await_banner(machine: Machine, seconds: float) -> None:
    """An sshd of `machine` greets within `seconds`; else raises Unreachable.

    Asked before a connection is made, which would wait five times as long for a machine that is off.
    """
    ends = time.monotonic() + seconds
    try:
        with socket.create_connection((machine.address, machine.port), timeout=seconds) as sock:
            sock.settimeout(max(0.1, ends - time.monotonic()))
            greeting = sock.recv(4)
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
    except OSError as refused:
        reason = refused.strerror or str(refused)
        raise Unreachable(machine.name, f"{machine.address}:{machine.port}: {reason}") from refused
    if greeting != b"SSH-":
        raise Unreachable(machine.name, f"{machine.address}:{machine.port}: no SSH there")
