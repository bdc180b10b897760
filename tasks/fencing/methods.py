"""The ways to put a server out of action, each believed only as far as it is seen to have worked."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tasks.code.local import run_local
from tasks.errors import PackmasterError
from tasks.fencing.facts import read_server, run_bounded
from tasks.fencing.values import find_doubts
from tasks.fleet import FenceCommand, Machine, Share
from tasks.liveness.rpc import ask_null

# To stop nfsd, to write back what the kernel holds, to remount: each has its own limit in fence.sh.
SSH_SECONDS = 60.0
# A machine that was switched off may have answered a moment ago.
SILENT_SECONDS = 10.0
NULL_SECONDS = 2.0
LINE = 200


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one method did: whether the server was then seen to be out of action, and what was seen."""

    method: str
    confirmed: bool
    seen: str

    def __str__(self) -> str:
        return f"{self.method}: {self.seen}"


def fence_over_ssh(server: Machine, share: Share) -> Attempt:
    """The server itself ends the share, and was looked at afterwards; its exit status is not asked for."""
    try:
        run_bounded(
            *(server, "fence", share.name, share.disk, share.code_path, share.data_path), seconds=SSH_SECONDS
        )
        look = read_server(server, share)
    except PackmasterError as failure:
        return Attempt("over SSH", confirmed=False, seen=str(failure)[:LINE])
    doubts = find_doubts(look, share)
    if doubts:
        return Attempt("over SSH", confirmed=False, seen="; ".join(doubts))
    return Attempt(
        "over SSH", True, f"not exported, {look.threads} nfsd threads, disk {look.disk or 'as is'}"
    )


def fence_by_command(server: Machine, command: FenceCommand) -> Attempt:
    """The operator's command was run, its check says that the server is off, and no NFS answers there."""
    name = f"command {command.argv[0]}"
    try:
        done = run_local(command.argv, timeout=command.seconds, waiting_for=server.name)
        said = "" if done.ok else f"it ended with {done.status}, and "
        check = run_local(command.check, timeout=command.seconds, waiting_for=server.name)
    except (PackmasterError, OSError) as failure:
        return Attempt(name, confirmed=False, seen=str(failure)[:LINE])
    printed = check.text.strip()
    if not check.ok or (command.off and printed != command.off):
        seen = f"{said}its check ended with {check.status} and printed {printed[:LINE]!a}"
        return Attempt(name, confirmed=False, seen=seen)
    return see_silence(server, name, f"{said}its check says {printed[:LINE]!a}")


def see_silence(server: Machine, method: str, said: str) -> Attempt:
    """Believe `said` unless an NFS server goes on answering where the server's clients mount from: it would
    be the wrong machine that is off.
    """
    ends = time.monotonic() + SILENT_SECONDS
    while ask_null(server.nfs_address, NULL_SECONDS).ok:
        if time.monotonic() > ends:
            seen = f"{said}, and yet NFS answers at {server.nfs_address}"
            return Attempt(method, confirmed=False, seen=seen)
        time.sleep(0.5)
    return Attempt(method, True, f"{said}; no NFS answers at {server.nfs_address}")
