"""One step of provisioning, done on its machine: one effect, bounded, harmless to repeat."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tasks.errors import CommandFailed
from tasks.fleet import PLATFORM_USER, Machine
from tasks.nfs import steps as todo
from tasks.nfs.facts import run_as_root
from tasks.nfs.ids import ChangeIds
from tasks.nfs.mounts import MOUNT_SECONDS, Mount
from tasks.nfs.plan import MachinePlan
from tasks.nfs.state import NFS_UNIT
from tasks.outcome import Outcome
from tasks.servers.apply import apply_step as apply_server_step
from tasks.ssh import Ssh, connect

log = logging.getLogger(__name__)

STEP_SECONDS = 60.0
# Mounts and unmounts give up by themselves before this; several may follow each other in one step.
MOUNTING_SECONDS = 120.0
# A walk through all files of the platform user on a machine's own disks.
OWNERSHIP_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class _Call:
    """One of the scripts, with its arguments and its standard input."""

    script: str
    args: tuple[str, ...] = ()
    stdin: bytes | None = None
    timeout: float = STEP_SECONDS


def apply_plan(
    machine: Machine, plan: MachinePlan, name: str, report: Callable[[str], None] = log.info
) -> Outcome:
    """Do the steps of one machine's plan in order, up to the first that fails; the Outcome is of step `name`.

    `report` is called with a line after each step. Raises CommandFailed and Unreachable.
    """
    ssh = connect(machine.as_admin())
    for step in plan.steps:
        started = time.monotonic()
        if isinstance(step, ChangeIds):
            # Our own login as that user is a process of it.
            connect(machine).close()
        apply_step(ssh, step)
        report(f"{machine.name}: {step} ({time.monotonic() - started:.1f} s)")
    done = f"{len(plan.steps)} steps done" if plan else "as desired"
    return Outcome(machine.name, name, changed=bool(plan), detail=done)


def apply_step(ssh: Ssh[Any], step: todo.Step) -> None:
    """Make one step true. Safe to run again, also after the first attempt was killed."""
    call = _call_of(step)
    if call is None:
        apply_server_step(ssh, step)  # type: ignore[arg-type]  # what is no step of ours is one of servers'
        return
    try:
        run_as_root(ssh, call.script, *call.args, timeout=call.timeout, stdin=call.stdin)
    except CommandFailed as failure:
        raise CommandFailed(failure.result, f"{step} failed") from failure


def _call_of(step: todo.Step) -> _Call | None:  # noqa: C901, PLR0911, PLR0912 - a table, a line a kind of step
    match step:
        case ChangeIds(user, group, old_uid, uid, old_gid, gid, roots):
            numbers = (str(old_uid), str(uid), str(old_gid), str(gid))
            return _Call("change_ids", (user, group, *numbers, *roots), timeout=OWNERSHIP_SECONDS)
        case todo.MakeExportDirectory(path, owner, group, mode, disk):
            return _Call("make_export_directory", (path, owner, group, f"{mode:04o}", disk))
        case todo.RunNfsServer():
            return _Call("run_nfs_server", (NFS_UNIT,))
        case todo.EndDelegations(path, content):
            return _Call("end_delegations", (path,), content.encode())
        case todo.PutExport(export):
            return _Call("put_export", (export.path, export.client, ",".join(export.options)))
        case todo.TakeExportBack(path, client):
            return _Call("take_export_back", (path, client))
        case todo.RemoveFile(path):
            return _Call("remove_file", (path,))
        case todo.EnableUnit(unit):
            return _Call("enable_unit", (unit,))
        case todo.DisableUnit(unit):
            return _Call("disable_unit", (unit,))
        case todo.SealMountPoint(point):
            return _Call("seal_mount_point", (point,))
        case todo.OpenMountPoint(point, mode):
            return _Call("open_mount_point", (point, PLATFORM_USER, f"{mode:04o}"))
        case todo.MountShare(mount):
            return _mount_call("mount_share", mount)
        case todo.MountAnew(mounts):
            return _mount_call("mount_anew", *mounts)
        case todo.Unmount(point):
            return _Call("unmount", (point, str(MOUNT_SECONDS)), timeout=MOUNTING_SECONDS)
        case todo.WriteFstab(text, before):
            return _Call("write_fstab", (before,), text.encode("utf-8", "surrogateescape"))
    return None


def _mount_call(script: str, *mounts: Mount) -> _Call:
    each = [(mount.kind, mount.source, mount.point, ",".join(mount.options)) for mount in mounts]
    words = (str(MOUNT_SECONDS), *(word for words in each for word in words))
    return _Call(script, words, timeout=len(mounts) * MOUNTING_SECONDS)
