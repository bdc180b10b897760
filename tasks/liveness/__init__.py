"""The watch over a share: what its nodes and its server see, what follows from it, and mounting anew."""

from __future__ import annotations

from tasks.fleet import Machine, Node
from tasks.liveness import apply, facts
from tasks.liveness.facts import resolve_address
from tasks.liveness.history import (
    Change,
    Watch,
    find_changes,
    find_warning,
    judge,
    parse_rows,
    returned_lately,
    summarise,
)
from tasks.liveness.plan import NodeRepair, Remount, RepairPlan, plan_repair
from tasks.liveness.quorum import find_all, mark_left_behind
from tasks.liveness.values import Member, NullAnswer, Sample, Sight, Verdict, Watched
from tasks.outcome import Outcome
from tasks.steps import fact_task, host_task

__all__ = [
    "Change",
    "Member",
    "NodeRepair",
    "NullAnswer",
    "Remount",
    "RepairPlan",
    "Sample",
    "Sight",
    "Verdict",
    "Watch",
    "Watched",
    "ask_server",
    "confirm_mounts",
    "drain",
    "find_all",
    "find_changes",
    "find_warning",
    "flush_exports",
    "judge",
    "look_at_server",
    "look_from_node",
    "mark_left_behind",
    "mount_anew",
    "parse_rows",
    "plan_repair",
    "resolve_address",
    "resume",
    "returned_lately",
    "summarise",
    "try_mounts",
]


# None of the looks is tried again by itself: a machine that does not answer is what is looked for, and the
# next sample asks it again.
@fact_task("probe mounts", run_name="probe mounts on {node.name}", retries=0)
def look_from_node(node: Node, watched: Watched, member: Member, seconds: float) -> Sight:
    """What the node sees of its mounts, within a few seconds whatever they do."""
    return facts.look_from_node(node, watched, member, seconds)


@fact_task("look at NFS server", run_name="look at {server.name}", retries=0)
def look_at_server(server: Machine, watched: Watched, seconds: float) -> Sight:
    """What the server sees of what it exports."""
    return facts.look_from_server(server, watched, seconds)


@fact_task("ask NFS server", run_name="ask {address} from here", retries=0)
def ask_server(address: str, seconds: float) -> NullAnswer:
    """What the controller hears from the address that clients mount from."""
    return facts.ask_server(address, seconds)


@host_task("flush exports", run_name="flush exports of {server.name}")
def flush_exports(server: Machine) -> Outcome:
    """The server's kernel asks anew what is exported, and forgets directories that are gone."""
    return apply.flush_exports(server)


@host_task("try mounts", run_name="try mounts on {node.name}")
def try_mounts(node: Node, remounts: tuple[Remount, ...]) -> Outcome:
    """What is wanted can be mounted; nothing of the node changes."""
    return apply.try_mounts(node, remounts)


@host_task("drain", run_name="drain {node.name}")
def drain(node: Node) -> Outcome:
    """No php-fpm runs on the node."""
    return apply.drain_node(node)


@host_task("mount anew", run_name="mount {wanted.mount.point} anew on {node.name}")
def mount_anew(node: Node, wanted: Remount) -> Outcome:
    """What is wanted is mounted, in place of what was."""
    return apply.remount(node, wanted)


@host_task("confirm mounts", run_name="confirm mounts on {node.name}")
def confirm_mounts(node: Node, watched: Watched, member: Member) -> Outcome:
    """Every mount of the node is the right one and answers."""
    return apply.confirm(node, watched, member)


@host_task("resume", run_name="resume {node.name}")
def resume(node: Node) -> Outcome:
    """php-fpm runs on the node again."""
    return apply.resume_node(node)
