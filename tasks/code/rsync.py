"""One rsync to one host: the command line, its progress, and what its exit status means."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from tasks.code.openssh import explain_ending, in_memory, login_to
from tasks.code.programs import Program, Progress, deadline_for, run_together
from tasks.errors import CommandFailed, PackmasterError, Unreachable
from tasks.fleet import Node
from tasks.result import Result

# Without a sign of life from the other side; what a hung file system costs, deadline_for bounds.
IDLE_SECONDS = 60

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
    started = time.monotonic()
    report = partial(_report, on_progress) if on_progress else None
    with login_to(node) as ssh, in_memory(b"".join(b"./%s\0" % name for name in names)) as listed:
        rsync = Program(build_command(node, source, destination, ssh), on_output=report)
        (ended,) = run_together([rsync], stdin=listed, seconds=deadline_for(size), host=node.name)
    # Negative is a signal; rsync's own number for that is 20.
    status = 20 if ended.status < 0 else ended.status
    result = Result(node.name, ("rsync",), status, ended.printed, ended.said, time.monotonic() - started)
    if not result.ok:
        raise explain_failure(result)
    return result


def build_command(node: Node, source: Path, destination: str, ssh: Iterable[str]) -> list[str]:
    """The argument list. Exactly the names on standard input go: nothing to exclude, nothing to delete."""
    address = f"[{node.address}]" if ":" in node.address else node.address
    return [
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
        *("--rsync-path=timeout -k 2 86400 rsync", f"--rsh={' '.join(ssh)}"),
        f"{source}/",
        f"{node.user}@{address}:{destination}/",
    ]


def explain_failure(result: Result) -> PackmasterError:
    """The error that an unsuccessful rsync stands for; only Unreachable is worth another attempt."""
    said, host, status = result.error_text, result.host, result.status
    if error := explain_ending(result):
        return error
    if "command not found" in said or ("No such file or directory (2)" in said and status == 127):
        return CommandFailed(result, MEANINGS[127])
    if status in UNREACHABLE:
        last = said.splitlines()[:1] or ["no message"]
        return Unreachable(host, f"the transfer broke off (rsync status {status}: {last[0]})")
    return CommandFailed(result, MEANINGS.get(status, "rsync failed"))


def _report(on_progress: Progress, printed: bytes) -> None:
    """Hand on the newest complete progress line; they end with a carriage return."""
    if found := _PERCENT.match(printed.replace(b"\n", b"\r").rpartition(b"\r")[2]):
        on_progress(int(found[2]), int(found[1]))
