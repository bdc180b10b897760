"""One rsync to one host: the command line, its progress, and what its exit status means.

rsync goes over OpenSSH, which moves bulk data several times faster than a Python transport. The key and the
pinned host keys are handed over in memory (memfd), so neither ever is on disk or in an argument list.
"""

from __future__ import annotations

import os
import re
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.errors import AccessDenied, CommandFailed, PackmasterError, Unreachable
from tasks.fleet import Node
from tasks.result import Result

Progress = Callable[[int, int], None]

IDLE_SECONDS = 60
# The wall clock that ends a transfer: --timeout only notices a silent network, not a hung file system.
FLOOR_SECONDS = 600.0
SLOWEST_BYTES_PER_SECOND = 256 * 1024
# Not more, for what all pipes of a user may hold together is limited (pipe(7)).
PIPE_BYTES = 256 * 1024
KEPT_BYTES = 16 * 1024
READ_SECONDS = 0.1

UNREACHABLE = frozenset({10, 12, 30, 35, 255})
MEANINGS = {
    11: "writing on the node failed",
    14: "rsync could not start",
    20: "rsync was interrupted",
    22: "rsync has not enough memory",
    23: "a part was not transferred: a file cannot be read here or written there",
    24: "files vanished from the source while it was copied: do not change it during a deployment",
    25: "the deletion limit was reached",
    127: "rsync is not installed on the node: run prepare-server",
}
_PERCENT = re.compile(rb"^\s*(\d+)\s+(\d+)%")


def transfer(
    node: Node,
    source: Path,
    names: Iterable[bytes],
    destination: str,
    *,
    size: int = 0,
    on_progress: Progress | None = None,
) -> Result:
    """Bring exactly `names` (relative to `source`) to `destination` on the node; nothing there is deleted.

    A name that ends in a slash (or is empty: the source itself) is what is directly in that directory. What
    was cut short is resumed by the next call. `size` (bytes) sets the bound. `on_progress` is called with
    percent and bytes. Raises Unreachable, AccessDenied and CommandFailed.
    """
    deadline = FLOOR_SECONDS + size / SLOWEST_BYTES_PER_SECOND
    with (
        _in_memory("key", _key_text(node)) as key,
        _in_memory("known_hosts", _known_hosts(node)) as known_hosts,
        _in_memory("names", b"".join(b"./%s\0" % name for name in names)) as listed,
    ):
        argv = build_command(node, source, destination, key=_path(key), known_hosts=_path(known_hosts))
        result = _run(node, argv, listed, deadline, on_progress)
    if not result.ok:
        raise explain_failure(result)
    return result


def build_command(node: Node, source: Path, destination: str, *, key: str, known_hosts: str) -> list[str]:
    """The argument list. Exactly the names on standard input go: nothing to exclude, nothing to delete."""
    address = f"[{node.address}]" if ":" in node.address else node.address
    return [
        *_dies_with_us(),
        "rsync",
        *(
            "--links",
            "--times",
            "--omit-dir-times",
            "--perms",
            "--chmod=Da-st,Du=rwx,Dgo=rx,Fa-st,Fu=rwX,Fgo=rX",
        ),
        *("--from0", "--files-from=-", "--whole-file", "--partial-dir=.rsync-partial"),
        *(f"--timeout={IDLE_SECONDS}", "--no-human-readable", "--info=progress2", "--outbuf=N"),
        *("--rsync-path=timeout -k 2 86400 rsync", f"--rsh={_ssh_command(node, key, known_hosts)}"),
        f"{source}/",
        f"{node.user}@{address}:{destination}/",
    ]


def explain_failure(result: Result) -> PackmasterError:
    """The error that an unsuccessful rsync stands for; only Unreachable is worth another attempt."""
    said, host, status = result.error_text, result.host, result.status
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
    if "command not found" in said or ("No such file or directory (2)" in said and status == 127):
        return CommandFailed(result, MEANINGS[127])
    if status in UNREACHABLE:
        last = said.splitlines()[:1] or ["no message"]
        return Unreachable(host, f"the transfer broke off (rsync status {status}: {last[0]})")
    return CommandFailed(result, MEANINGS.get(status, "rsync failed"))


def _run(node: Node, argv: list[str], listed: int, deadline: float, on_progress: Progress | None) -> Result:
    started = time.monotonic()
    environment = {**os.environ, "LC_ALL": "C"}
    child = subprocess.Popen(
        argv,
        stdin=listed,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
        pipesize=PIPE_BYTES,
    )
    try:
        out, err = _read_both(child, started, started + deadline, on_progress)
        status = child.wait(timeout=max(started + deadline - time.monotonic(), 1))
    except (TimeoutError, subprocess.TimeoutExpired) as late:
        raise Unreachable(node.name, f"the transfer did not finish in {deadline:.0f} s") from late
    finally:
        _end(child)
    # Negative is a signal; rsync's own number for that is 20.
    return Result(node.name, ("rsync",), 20 if status < 0 else status, out, err, time.monotonic() - started)


def _read_both(
    child: subprocess.Popen[bytes], started: float, ends: float, on_progress: Progress | None
) -> tuple[bytes, bytes]:
    """The last of what it printed; progress is handed on as it comes.

    rsync prints a line for every file, and to take each at once would cost more than the transfer: so the
    pipes are large, and are emptied the more rarely the longer it takes, every READ_SECONDS in the end.
    """
    assert child.stdout is not None  # noqa: S101 - for the type checker: both are pipes
    assert child.stderr is not None  # noqa: S101
    kept = {child.stdout: b"", child.stderr: b""}
    with selectors.DefaultSelector() as selector:
        for pipe in kept:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(timeout=max(ends - time.monotonic(), 0))
            if not ready:
                raise TimeoutError
            for item, _ in ready:
                pipe = child.stdout if item.fileobj is child.stdout else child.stderr
                data = os.read(pipe.fileno(), PIPE_BYTES)
                if not data:
                    selector.unregister(pipe)
                kept[pipe] = (kept[pipe] + data)[-KEPT_BYTES:]
                if on_progress and data and pipe is child.stdout:
                    _report(kept[pipe], on_progress)
            time.sleep(min((time.monotonic() - started) / 20, READ_SECONDS))
    return kept[child.stdout], kept[child.stderr]


def _report(printed: bytes, on_progress: Progress) -> None:
    """Hand on the newest complete progress line; they end with a carriage return."""
    if found := _PERCENT.match(printed.replace(b"\n", b"\r").rpartition(b"\r")[2]):
        on_progress(int(found[2]), int(found[1]))


def _end(child: subprocess.Popen[bytes]) -> None:
    """Leave nothing running: rsync has an ssh beneath it, so the whole group goes; bounded in any case."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    try:
        child.wait(timeout=2)
    except subprocess.TimeoutExpired:
        return
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()


def _dies_with_us() -> Iterator[str]:
    """Without this a killed controller would leave an rsync behind that races with the next run's."""
    if shutil.which("setpriv"):
        yield from ("setpriv", "--pdeathsig", "TERM", "--")


def _ssh_command(node: Node, key: str, known_hosts: str) -> str:
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
    return " ".join([*words, *(f"-o {name}={value}" for name, value in options.items())])


def _known_hosts(node: Node) -> bytes:
    return "".join(f"node {key}\n" for key in node.host_keys).encode()


def _key_text(node: Node) -> bytes:
    return (node.private_key.get_secret_value().strip() + "\n").encode()


def _path(handle: int) -> str:
    """Where our children can open what is only in our memory."""
    return f"/proc/{os.getpid()}/fd/{handle}"


@contextmanager
def _in_memory(name: str, content: bytes) -> Iterator[int]:
    """A file that has no name anywhere and is gone with this process, whatever happens to it."""
    handle = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        os.fchmod(handle, 0o600)
        with open(handle, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(handle, 0, os.SEEK_SET)
        yield handle
    finally:
        os.close(handle)
