"""A server is promoted, and nodes are moved to it: each step can be repeated after a kill."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from tasks.errors import Drift, PlanRefused
from tasks.fencing.facts import GREETING_SECONDS, read_server
from tasks.fleet import Machine, Node, Share, Target
from tasks.liveness.apply import STOP_SECONDS, confirm, drain_node, remount, resume_node
from tasks.liveness.bound import await_banner, call_within
from tasks.liveness.facts import look_from_node
from tasks.liveness.plan import Remount
from tasks.liveness.rpc import ask_null
from tasks.liveness.values import Member, Verdict, Watched
from tasks.liveness.verdicts import find_mount
from tasks.nfs.apply import apply_step
from tasks.nfs.exports import Export, find_differing
from tasks.nfs.facts import node_questions, read_machine, run_as_root, server_questions
from tasks.nfs.fstab import edit_fstab
from tasks.nfs.mounted import MountEntry, differences, host_of, mount_at
from tasks.nfs.mounts import Mount
from tasks.nfs.plan import exports_for
from tasks.nfs.state import MachineFacts
from tasks.nfs.steps import RunNfsServer, Step, WriteFstab
from tasks.nfs.storage import digest_of, plan_exports
from tasks.outcome import Outcome
from tasks.scripts import read_script, run_text_as_root
from tasks.ssh import connect

log = logging.getLogger(__name__)

# What hangs on a server that is gone does not finish, however long it is waited for.
DEAD_STOP_SECONDS = 3
GRACE_SECONDS = 130.0
NULL_SECONDS = 3.0
FORCE_SECONDS = 90.0
FORESEE_SECONDS = 30.0


def start_server(server: Machine) -> Outcome:
    """The kernel has threads for NFS, so that a switch need not wait for them; what is exported stays so."""
    apply_step(connect(server.as_admin()), RunNfsServer())
    return Outcome(server.name, "start NFS server", detail="nfsd runs")


def foresee_exports(server: Machine, share: Share, target: Target) -> str:
    """Why `export_all` would refuse to export the share from the server; empty where it would not.

    Nothing is touched. Raises CommandFailed, and Unreachable within seconds.
    """
    await_banner(server.as_admin(), GREETING_SECONDS)
    try:
        call_within(FORESEE_SECONDS, server.name, lambda: _plan_exports(server, share, target))
    except PlanRefused as refused:
        return str(refused)
    return ""


def export_all(server: Machine, share: Share, target: Target, report: Callable[[str], None]) -> Outcome:
    """`server` exports the share to the target's nodes, and takes new opens.

    No client has anything of its own to reclaim on a copy, so that where nothing else is exported its grace
    period is ended at once. Raises PlanRefused, CommandFailed, Drift and Unreachable.
    """
    facts, desired, steps = _plan_exports(server, share, target)
    ssh = connect(server.as_admin())
    for step in steps:
        apply_step(ssh, step)
        report(f"{server.name}: {step}")
    ours = {export.path for export in desired}
    if all(export.path in ours for export in facts.table):
        run_as_root(ssh, "end_grace", timeout=20)
    run_as_root(ssh, "await_grace", timeout=GRACE_SECONDS)
    look = read_server(server, share)
    differing = find_differing(desired, look.table)
    answer = ask_null(share.address, NULL_SECONDS)
    if differing or not answer.ok:
        said = f"{len(differing)} exports are not as asked" if differing else f"NFS there: {answer}"
        raise Drift(f"{server.name} was promoted, and does not serve: {said}. Run this again")
    return Outcome(server.name, "export share", changed=bool(steps), detail=f"{look.threads} nfsd threads")


def move_node(
    node: Node,
    target: Target,
    watched: Watched,
    member: Member,
    *,
    replaced: str,
    report: Callable[[str], None],
) -> Outcome:
    """The node works from the target's share: mounted now and at boot, confirmed, php-fpm running.

    `replaced` is the address of a server that is out of action: what is mounted from there is taken away by
    force, and nothing else is. Where a step fails the node stays drained. One that works from it already is
    left alone. Raises CommandFailed, Drift and Unreachable.
    """
    facts = read_machine(node, node_questions(target))
    wrong = [mount for mount in member.mounts if differences(mount, facts.mounts)]
    text = edit_fstab(facts.fstab, watched.share, member.mounts)
    if not wrong and text == facts.fstab and _is_at_work(node, watched, member):
        return Outcome(node.name, "move", detail=f"works from {watched.server} already")
    report(str(drain_node(node, DEAD_STOP_SECONDS if replaced else STOP_SECONDS)))
    there = find_replaced(member, facts.mounts, replaced)
    if there:
        report(f"{node.name}: unmounted by force {_force_off(node, there)}")
    # Not while something is mounted that hangs: systemd looks at every mount point when it reads the table.
    if text != facts.fstab:
        about = f"share {watched.share} is mounted from {watched.server}"
        apply_step(connect(node.as_admin()), WriteFstab(text, digest_of(facts.fstab), about))
    for mount in wrong:
        report(str(remount(node, Remount(mount, Verdict.NOT_MOUNTED, dead=False))))
    report(str(confirm(node, watched, member)))
    resumed = resume_node(node)
    detail = f"works from {watched.server}; {resumed.detail}"
    return Outcome(node.name, "move", changed=True, detail=detail)


def detach_node(node: Node, mounts: tuple[Mount, ...]) -> Outcome:
    """No php-fpm runs on the node, and nothing of the share is mounted there: nobody writes through it.

    Raises CommandFailed, naming who holds a mount, and Unreachable. Nothing is forced.
    """
    drain_node(node)
    ssh = connect(node.as_admin())
    for mount in reversed(mounts):
        run_as_root(ssh, "unmount", mount.point, "10", timeout=60)
    return Outcome(node.name, "detach", changed=True, detail="drained and unmounted")


def detach_by_force(
    node: Node, target: Target, member: Member, replaced: str, report: Callable[[str], None]
) -> Outcome:
    """No php-fpm runs on the node, and nothing is mounted there from the address `replaced`, whose server is
    out of action.

    Whoever holds it gets an error. A node that mounts nothing from there is left alone. Raises CommandFailed
    and Unreachable.
    """
    there = find_replaced(member, read_machine(node, node_questions(target)).mounts, replaced)
    if not there:
        return Outcome(node.name, "detach by force", detail="nothing to unmount")
    report(str(drain_node(node, DEAD_STOP_SECONDS)))
    held = _force_off(node, there)
    return Outcome(node.name, "detach by force", changed=True, detail=f"drained and unmounted {held}".strip())


def find_replaced(member: Member, table: Sequence[MountEntry], replaced: str) -> list[Mount]:
    """The member's mounts at whose points something from the address `replaced` is mounted."""
    seen = [(mount, mount_at(table, mount.point)) for mount in member.mounts]
    return [mount for mount, entry in seen if entry is not None and replaced and host_of(entry) == replaced]


def _plan_exports(
    server: Machine, share: Share, target: Target
) -> tuple[MachineFacts, tuple[Export, ...], tuple[Step, ...]]:
    facts = read_machine(server, server_questions(share))
    desired = exports_for(target, {server.name: facts, **dict.fromkeys(target.node_names, facts)})
    return facts, desired, plan_exports(target.name, share, facts, desired)


def _is_at_work(node: Node, watched: Watched, member: Member) -> bool:
    sight = look_from_node(node, watched, member)
    found = [find_mount(watched, node.name, mount, sight, None).verdict for mount in member.mounts]
    return not sight.drained and all(verdict in {Verdict.OK, Verdict.SLOW} for verdict in found)


def _force_off(node: Node, mounts: Sequence[Mount]) -> str:
    text = read_script("tasks.liveness", "force_off")
    points = [mount.point for mount in reversed(mounts)]
    return run_text_as_root(connect(node.as_admin()), text, *points, timeout=FORCE_SECONDS).strip()
