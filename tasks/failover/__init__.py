"""A share moves to its standby: decided by facts, server first, then node by node."""

from __future__ import annotations

from prefect import get_run_logger

from tasks.failover import apply
from tasks.failover.enlist import Enlistment, plan_enlistment, refuse_superseded
from tasks.failover.facts import find_detached, find_misplaced
from tasks.failover.failover_plan import FailoverPlan
from tasks.failover.plan import plan_failover
from tasks.failover.switch import SwitchPlan, plan_switch
from tasks.failover.values import Ledger, Request, Situation
from tasks.fleet import Machine, Node, Share, Target
from tasks.liveness.values import Member, Watched
from tasks.nfs.mounts import Mount
from tasks.outcome import Outcome
from tasks.steps import fact_task, host_task

__all__ = [
    "Enlistment",
    "FailoverPlan",
    "Ledger",
    "Request",
    "Situation",
    "SwitchPlan",
    "detach_by_force",
    "detach_node",
    "export_all",
    "find_detached",
    "find_misplaced",
    "foresee_exports",
    "move_node",
    "plan_enlistment",
    "plan_failover",
    "plan_switch",
    "refuse_superseded",
    "start_server",
]


# What exports the share starts it, too: nobody waits here for another attempt.
@host_task("start NFS server", run_name="start nfsd on {server.name}", retries=0)
def start_server(server: Machine) -> Outcome:
    """Its nfsd runs, and exports nothing of the share."""
    return apply.start_server(server)


@fact_task("foresee exports", run_name="see whether {server.name} could export", retries=0)
def foresee_exports(server: Machine, share: Share, target: Target) -> str:
    """Why the server could not export the share; empty when it could."""
    return apply.foresee_exports(server, share, target)


@host_task("export share", run_name="export from {server.name}")
def export_all(server: Machine, share: Share, target: Target) -> Outcome:
    """The promoted server exports the share, and takes new opens."""
    return apply.export_all(server, share, target, get_run_logger().info)


# One that does not answer is asked once more, then left where it is, and named: the others wait for nobody.
@host_task("move", run_name="move {node.name} to {watched.server}", retries=1)
def move_node(node: Node, target: Target, watched: Watched, member: Member, replaced: str) -> Outcome:
    """The node works from the share's server, or stays drained."""
    return apply.move_node(node, target, watched, member, replaced=replaced, report=get_run_logger().info)


@host_task("detach", run_name="drain and unmount on {node.name}", retries=0)
def detach_node(node: Node, mounts: tuple[Mount, ...]) -> Outcome:
    """Nobody writes to the share through the node."""
    return apply.detach_node(node, mounts)


# Whom it does not help is asked again when it is moved.
@host_task("detach by force", run_name="drain and unmount by force on {node.name}", retries=0)
def detach_by_force(node: Node, target: Target, member: Member, replaced: str) -> Outcome:
    """Nothing of a server that is out of action is mounted on the node."""
    return apply.detach_by_force(node, target, member, replaced, get_run_logger().info)
