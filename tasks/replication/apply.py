"""The steps of a copy: the way there, the trees, the proof. Each can be repeated, also after a kill."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

from tasks.errors import CommandFailed
from tasks.fleet import Machine, Share
from tasks.outcome import Outcome
from tasks.replication.doors import MODULES, door_line, key_directory, known_hosts_file, receiver_files
from tasks.replication.facts import join_names, run_as_root, send
from tasks.replication.plan import PACKAGES, SyncPlan
from tasks.replication.safety import paths_of
from tasks.replication.values import Difference, Side, SyncProof
from tasks.result import Result
from tasks.servers.apply import apply_step
from tasks.servers.steps import InstallPackages, MakeDirectory
from tasks.ssh import connect

STEP_SECONDS = 60.0
# Whoever was left behind by a controller that is gone ends by then, if the next run has not ended it.
COPY_SECONDS = 6 * 3600.0
# What the standby's kernel still holds has to get to its disk.
ACCEPT_SECONDS = 600.0
SAVE_SECONDS = 3600.0
STATUS_DELETIONS = 25
_FIGURE = re.compile(r"^(Number of [a-z ]+|Total transferred file size): ([\d,]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a copy moved, as rsync counted it, without the tokens; `size` in bytes."""

    files: int = 0
    deleted: int = 0
    size: int = 0

    def __add__(self, other: Figures) -> Figures:
        return Figures(self.files + other.files, self.deleted + other.deleted, self.size + other.size)

    def __str__(self) -> str:
        return f"{self.files} files ({self.size / 1048576:.1f} MiB) sent, {self.deleted} taken away"


def parse_figures(text: str) -> Figures:
    """The figures of `rsync --stats`; one file of each tree is the token."""
    found = {name: int(figure.replace(",", "")) for name, figure in _FIGURE.findall(text)}
    return Figures(
        files=max(0, found.get("Number of regular files transferred", 0) - 1),
        deleted=found.get("Number of deleted files", 0),
        size=found.get("Total transferred file size", 0),
    )


def make_key(source: Machine, destination: Machine, share: Share) -> str:
    """The source has a key of its own to copy with, and knows the destination's host keys; gives the public
    half. The other half never leaves it.
    """
    ssh = connect(source.as_admin())
    key = run_as_root(ssh, "make_key", share.name, timeout=STEP_SECONDS).strip()
    apply_step(ssh, known_hosts_file(share, destination))
    return key


def open_door(destination: Machine, share: Share, public_key: str, source_address: str) -> None:
    """The destination takes in what the holder of the key sends for this share, from its address."""
    ssh = connect(destination.as_admin())
    folder = key_directory(share)
    for path in (folder.rpartition("/")[0].rpartition("/")[0], folder.rpartition("/")[0], folder):
        apply_step(ssh, MakeDirectory(path, "root", "root", 0o700))
    for file in receiver_files(share):
        apply_step(ssh, file)
    line = door_line(share, destination, source_address, public_key)
    _set_door(destination, share, f"{line}\n")


def close_door(server: Machine, share: Share) -> None:
    """Nobody may copy this share to the server any more."""
    _set_door(server, share, "")


def prepare_way(
    source: tuple[Machine, Side],
    destination: tuple[Machine, Side],
    share: Share,
    plan: SyncPlan,
    address: str,
) -> Outcome:
    """Both servers are as the plan's `prepares` say."""
    (here, seen_here), (there, seen_there) = source, destination
    if plan.prepares:
        for machine, seen in (source, destination):
            if not seen.has_rsync:
                apply_step(connect(machine.as_admin()), InstallPackages(PACKAGES))
        key = make_key(here, there, share)
        if seen_here.doors:
            close_door(here, share)
        open_door(there, share, key, address)
    detail = f"{here.name} may copy to {seen_there.host}"
    return Outcome(there.name, "prepare copy", changed=bool(plan.prepares), detail=detail)


def sync_trees(
    source: Machine,
    destination: Machine,
    share: Share,
    plan: SyncPlan,
    started: float,
    seconds: float = COPY_SECONDS,
) -> tuple[SyncProof, Figures]:
    """The destination has both trees as they were at `started` or later, on its disk, and a token says so.

    `started` is the controller's time before the call; each tree may take `seconds`. Nothing is taken away
    there before all that is new has arrived. Raises Unreachable and CommandFailed, and then the destination's
    token is the one it had.
    """
    arriving = plan.proof(started)
    here, there = connect(source.as_admin()), connect(destination.as_admin())
    paths = paths_of(share)
    mark = SyncProof(0, 0.0, 0.0, 0, source.name).as_text()
    if plan.adopts:
        run_as_root(there, "adopt", mark, *plan.adopts, timeout=STEP_SECONDS)
    text = arriving.as_text()
    run_as_root(here, "write_token", share.disk, text, *paths, timeout=STEP_SECONDS)
    figures = Figures()
    for module in MODULES:
        figures += parse_figures(_copy(source, destination, share, module, plan.deletions, seconds).text)
    proof = plan.proof(started, time.time())
    run_as_root(there, "accept", share.disk, text, proof.as_text(), *paths, timeout=ACCEPT_SECONDS)
    return proof, figures


def save_aside(server: Machine, share: Share, orphans: tuple[Difference, ...], stamp: str) -> dict[str, str]:
    """The orphans' files are also in a directory of their own, which gives the module it is of.

    It is beside each tree, on the same disk and exported to nobody, so that links suffice: nothing has to be
    copied, no space is needed, and it is done before anything is overwritten.
    """
    ssh, folders = connect(server.as_admin()), {}
    for module, path in zip(MODULES, paths_of(share), strict=True):
        names = [one.path for one in orphans if one.tree == module]
        if names:
            folders[module] = aside_directory(share, module, stamp)
            args = (path, folders[module])
            run_as_root(ssh, "save_aside", *args, timeout=SAVE_SECONDS, stdin=join_names(names))
    return folders


def aside_directory(share: Share, module: str, stamp: str) -> str:
    """Where what is saved of a tree lies, on the tree's disk and outside of both."""
    path = dict(zip(MODULES, paths_of(share), strict=True))[module]
    return f"{path.rpartition('/')[0]}/.packmaster-saved/{share.name}-{stamp}/{module}"


def _set_door(server: Machine, share: Share, lines: str) -> None:
    args = (share.name, server.admin_user)
    run_as_root(
        connect(server.as_admin()), "set_door", *args, timeout=STEP_SECONDS, stdin=lines.encode("ascii")
    )


def _copy(
    source: Machine, destination: Machine, share: Share, module: str, deletions: int, seconds: float
) -> Result:
    try:
        return send(source, destination, share, module, deletions=deletions, mode="copy", seconds=seconds)
    except CommandFailed as failure:
        if failure.result.status != STATUS_DELETIONS:
            raise
        meaning = (
            f"{destination.name} has more than {deletions} files that {source.name} has not, and keeps the "
            "rest: if they are not wanted any more, run sync-standby again until it is through"
        )
        raise CommandFailed(failure.result, meaning) from failure
