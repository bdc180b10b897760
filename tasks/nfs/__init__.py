"""A pack's share: exported by its server to exactly its nodes, mounted there, now and at every boot."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import get_run_logger

from tasks.fleet import Machine, Node, Share, Target
from tasks.nfs import facts, tokens
from tasks.nfs.apply import apply_plan
from tasks.nfs.facts import Questions, node_questions, server_questions
from tasks.nfs.plan import MachinePlan, ProvisionPlan, WithdrawPlan, plan_provision, plan_withdraw
from tasks.nfs.state import MachineFacts
from tasks.nfs.tokens import Token, new_token
from tasks.nfs.verify import as_provided, check_provided
from tasks.outcome import Outcome
from tasks.steps import fact_task, host_task

__all__ = [
    "MachineFacts",
    "MachinePlan",
    "ProvisionPlan",
    "Token",
    "WithdrawPlan",
    "as_provided",
    "await_grace",
    "change_ids",
    "check_provided",
    "export_share",
    "find_tokens",
    "mount_share",
    "new_token",
    "node_questions",
    "plan_provision",
    "plan_withdraw",
    "prepare_storage",
    "read_machine",
    "read_tokens",
    "remove_token",
    "server_questions",
    "unmount_share",
    "write_token",
]


@fact_task("read machine", run_name="read NFS on {machine.name}")
def read_machine(machine: Machine, questions: Questions) -> MachineFacts:
    """What is on one machine of a pack, as its administrator sees it; no hung mount is waited for."""
    return facts.read_machine(machine, questions)


@host_task("change ids", run_name="change ids on {machine.name}")
def change_ids(machine: Machine, plan: MachinePlan) -> Outcome:
    """Accounts have the planned ids, and their files on the machine's own disks have followed."""
    return apply_plan(machine, plan, "change ids", get_run_logger().info)


@host_task("prepare NFS server", run_name="prepare NFS on {machine.name}")
def prepare_storage(machine: Machine, plan: MachinePlan) -> Outcome:
    """The server has packages, accounts and directories; nothing is exported by this."""
    return apply_plan(machine, plan, "prepare NFS server", get_run_logger().info)


@host_task("export share", run_name="export from {machine.name}")
def export_share(machine: Machine, plan: MachinePlan) -> Outcome:
    """The server exports what was planned, and no other export of its was touched."""
    return apply_plan(machine, plan, "export share", get_run_logger().info)


@host_task("mount share", run_name="mount on {machine.name}")
def mount_share(machine: Machine, plan: MachinePlan) -> Outcome:
    """The node has mounted the share, and does so at every boot."""
    return apply_plan(machine, plan, "mount share", get_run_logger().info)


@host_task("unmount share", run_name="unmount on {machine.name}")
def unmount_share(machine: Machine, plan: MachinePlan) -> Outcome:
    """The node has nothing of the share any more; what is in the share stays there."""
    return apply_plan(machine, plan, "unmount share", get_run_logger().info)


@host_task("await NFS server", run_name="await grace period of {server.name}")
def await_grace(server: Machine) -> Outcome:
    """The server takes new opens, which it refuses for a while after its start."""
    return tokens.await_grace(server)


@host_task("write token", run_name="write token on {node.name}", retries=0)
def write_token(node: Node, token: Token) -> Outcome:
    """The node has written a file through every writable mount, as the platform user."""
    return tokens.write_token(node, token)


@host_task("read tokens", run_name="read tokens on {node.name}", retries=0)
def read_tokens(node: Node, target: Target, found: Sequence[Token], owner: str) -> Outcome:
    """The node sees what others wrote, with the same owner."""
    return tokens.read_tokens(node, target, found, owner)


@host_task("find tokens", run_name="find tokens on {server.name}")
def find_tokens(server: Machine, target: Target, share: Share, found: Sequence[Token], owner: str) -> Outcome:
    """The server has on its disk what the nodes wrote, with the same owner."""
    return tokens.find_tokens(server, target, share, found, owner)


@host_task("remove token", run_name="remove token on {node.name}", retries=0)
def remove_token(node: Node, token: Token) -> Outcome:
    """The node's token is gone."""
    return tokens.remove_token(node, token)
