"""A bare Debian made ready to carry platforms: packages, platform user, sudo rules, web server, php-fpm."""

from __future__ import annotations

from prefect import get_run_logger

from tasks.fleet import Node
from tasks.outcome import Outcome
from tasks.servers.apply import apply_plan
from tasks.servers.facts import desired_server, read_facts
from tasks.servers.plan import FleetPlan, ServerPlan, plan_fleet, plan_server
from tasks.servers.state import DesiredServer, ServerFacts
from tasks.servers.verify import verify_ready
from tasks.steps import fact_task, host_task

__all__ = [
    "DesiredServer",
    "FleetPlan",
    "ServerFacts",
    "ServerPlan",
    "apply_server_plan",
    "desired_server",
    "plan_fleet",
    "plan_server",
    "prepare",
    "read_server_facts",
    "verify_server",
]


def prepare(node: Node, uid: int = 5000, gid: int = 5000) -> Outcome:
    """Make `node` ready and check that it is; the same as the flow does, for one server and without Prefect.

    Raises PlanRefused (nothing was touched), CommandFailed and Unreachable.
    """
    desired = desired_server(node, uid, gid)
    outcome = apply_plan(node, plan_server(desired, read_facts(node, desired)))
    verify_ready(node, desired)
    return outcome


@fact_task("read server", run_name="read server {node.name}")
def read_server_facts(node: Node, desired: DesiredServer) -> ServerFacts:
    """What is on one server, as its administrator sees it."""
    return read_facts(node, desired)


@host_task("prepare server", run_name="prepare {node.name}")
def apply_server_plan(node: Node, plan: ServerPlan) -> Outcome:
    """Do one server's plan, a log line a step; packages may take ten minutes."""
    return apply_plan(node, plan, get_run_logger().info)


@host_task("verify server", run_name="verify {node.name}")
def verify_server(node: Node, desired: DesiredServer) -> Outcome:
    """Read the server again: nothing is left to do, and the platform user can log in."""
    return verify_ready(node, desired)
