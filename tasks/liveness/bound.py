"""Waits that end: what may hang is done by a thread that can be left behind, and never by the caller."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable
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
    answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((function(), None))
        except BaseException as raised:  # it is raised again where it is waited for
            answers.put((None, raised))

    threading.Thread(target=run, name=f"probe of {host}", daemon=True).start()
    try:
        value, raised = answers.get(timeout=seconds)
    except queue.Empty:
        raise Unreachable(host, f"no answer within {seconds:g} s") from None
    if raised is not None:
        raise raised
    return value  # type: ignore[return-value]  # None only when `function` returned it


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
