"""OpenSSH for bulk data, which it moves several times faster than a Python transport: login and processes.

The key and the pinned host keys are handed over in memory (memfd), so neither ever is on disk or in an
argument list.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO

from tasks.errors import AccessDenied, CommandFailed, PackmasterError
from tasks.fleet import Node
from tasks.result import Result

# The wall clock that ends a transfer: the network is watched, but not a file system that hangs.
FLOOR_SECONDS = 600.0
SLOWEST_BYTES_PER_SECOND = 256 * 1024
# Not more, for what all pipes of a user may hold together is limited (pipe(7)).
PIPE_BYTES = 256 * 1024
KEPT_BYTES = 16 * 1024
READ_SECONDS = 0.1

Progress = Callable[[int, int], None]
Pipe = IO[bytes]
Reader = Callable[[bytes], None]


@contextmanager
def login_to(node: Node) -> Iterator[list[str]]:
    """The words of an `ssh` that logs in to the node, but for the destination; good while the block runs."""
    with in_memory(_key_text(node)) as key, in_memory(_known_hosts(node)) as known_hosts:
        yield ssh_command(node, key=name_of(key), known_hosts=name_of(known_hosts))


def ssh_command(node: Node, *, key: str, known_hosts: str) -> list[str]:
    """The words that `login_to` gives, for a key and host keys in these files."""
    options = {
        "IdentityFile": key,
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": "node",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "BatchMode": "yes",
        "ConnectTimeout": "10",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "Compression": "no",
        # The fastest where the processor knows AES; `^` only puts it in front of the defaults.
        "Ciphers": "^aes128-gcm@openssh.com",
    }
    words = ["ssh", "-F", "none", "-T", "-x", "-p", str(node.port)]
    return [*words, *(f"-o {name}={value}" for name, value in options.items())]


def deadline_for(size: int) -> float:
    """The seconds in which so many bytes must have gone."""
    return FLOOR_SECONDS + size / SLOWEST_BYTES_PER_SECOND


def start(argv: list[str], *, stdin: int | Pipe, stdout: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """Start a program with large pipes, that ends when we do, in a process group of its own."""
    return subprocess.Popen(
        [*_dies_with_us(), *argv],
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, "LC_ALL": "C"},
        start_new_session=True,
        pipesize=PIPE_BYTES,
    )


def outputs(child: subprocess.Popen[bytes]) -> tuple[Pipe, Pipe]:
    """What it prints, and what it says of errors; both are pipes."""
    assert child.stdout is not None  # noqa: S101 - for the type checker
    assert child.stderr is not None  # noqa: S101
    return child.stdout, child.stderr


def read_to_the_end(readers: Mapping[Pipe, Reader | None], ends: float) -> list[bytes]:
    """The last of what each pipe gave until it was closed; its reader is handed that whenever there is more.

    What prints a line for every file would cost more to be read at once than the transfer: so the pipes are
    large, and are emptied the more rarely the longer it takes, every READ_SECONDS in the end. Raises
    TimeoutError when the monotonic clock reaches `ends`.
    """
    began, kept = time.monotonic(), dict.fromkeys(readers, b"")
    with selectors.DefaultSelector() as selector:
        for pipe in readers:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(timeout=max(ends - time.monotonic(), 0))
            if not ready:
                raise TimeoutError
            for pipe in [each for each in readers if any(item.fileobj is each for item, _ in ready)]:
                data = os.read(pipe.fileno(), PIPE_BYTES)
                if not data:
                    selector.unregister(pipe)
                kept[pipe] = (kept[pipe] + data)[-KEPT_BYTES:]
                if (hand := readers[pipe]) and data:
                    hand(kept[pipe])
            time.sleep(min((time.monotonic() - began) / 20, READ_SECONDS))
    return list(kept.values())


def end(child: subprocess.Popen[bytes]) -> None:
    """Leave nothing running: some have an ssh beneath them, so the whole group goes; bounded in any case."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    try:
        child.wait(timeout=2)
    except subprocess.TimeoutExpired:
        return
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()


def explain_login(result: Result) -> PackmasterError | None:
    """The error that lies in what ssh said, or a full disk; None when it is about something else."""
    said, host = result.error_text, result.host
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return CommandFailed(result, "the node's disk is full")
    if "Host key verification failed" in said or "host key is known" in said:
        return AccessDenied(
            host,
            "its host key is not the pinned one",
            "Compare the fingerprint on its console. Nothing was sent.",
        )
    if "Permission denied (" in said or "Too many authentication failures" in said:
        return AccessDenied(host, "the login with the registered key was refused", "Run prepare-server.")
    return None


@contextmanager
def in_memory(content: bytes) -> Iterator[int]:
    """A file that has no name anywhere and is gone with this process, whatever happens to it."""
    handle = os.memfd_create("packmaster", os.MFD_CLOEXEC)
    try:
        os.fchmod(handle, 0o600)
        with open(handle, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(handle, 0, os.SEEK_SET)
        yield handle
    finally:
        os.close(handle)


def name_of(handle: int) -> str:
    """Where our children can open what is only in our memory."""
    return f"/proc/{os.getpid()}/fd/{handle}"


def _dies_with_us() -> Iterator[str]:
    """Without this a killed controller would leave a transfer behind that races with the next run's."""
    if shutil.which("setpriv"):
        yield from ("setpriv", "--pdeathsig", "TERM", "--")


def _known_hosts(node: Node) -> bytes:
    return "".join(f"node {key}\n" for key in node.host_keys).encode()


def _key_text(node: Node) -> bytes:
    return (node.private_key.get_secret_value().strip() + "\n").encode()
