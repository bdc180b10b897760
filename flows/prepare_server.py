"""prepare-server: make bare Debian web servers ready to carry platforms.

Trigger: by hand, for a new server; any time afterwards, to put back what somebody changed.
Effect: packages, the user `aegir` with pinned ids and the registered key, its sudo rules, directories, the
    web server's include line and a php-fpm pool; the distribution's default site is disabled. A server on
    which that would hurt something (ids in use, another web server on the port, a configuration that is
    broken already) is refused untouched.
Rollback: none, for nothing is removed that others use. A configuration that its service does not accept is
    taken back at once.
Safe to re-run? Yes, also after a kill: it reads what is there, and on a ready server there is nothing to do.
3 a.m.: nothing depends on it. `refused` in the outcome table says what to change by hand, `will be REMOVED`
    which package excludes one that is needed: it is left where it is. Then run it again.
"""

from __future__ import annotations

from typing import Annotated

from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import Field

from blocks.targets import resolve_servers
from flows.drift import publish_drift
from flows.locks import hold
from flows.operation import operation
from flows.publish import conclude, failures_of, publish_plan
from tasks.fleet import Target
from tasks.names import unique_or_refuse
from tasks.outcome import Outcomes
from tasks.servers import apply_server_plan, desired_server, plan_fleet, read_server_facts, verify_server
from tasks.steps import join, join_outcomes

ABOUT = "prepare-server"
Servers = Annotated[list[str], Field(min_length=1)]
# As many of a run's servers as its name tells.
NAMED = 6
UnixId = Annotated[int, Field(ge=1000, le=59999)]


def name_run() -> str:
    """Which servers the run prepares; of more than a few, how many."""
    servers: list[str] = flow_run.parameters["servers"]
    return f"prepare {', '.join(servers) if len(servers) <= NAMED else f'{len(servers)} servers'}"


@operation(ABOUT, runbook=__doc__, run_name=name_run)
def prepare_server(
    servers: Servers, uid: UnixId = 5000, gid: UnixId = 5000, dry_run: bool = False
) -> State[Outcomes]:
    """Make web servers ready to carry platforms.

    Args:
        servers: Names of the web servers to prepare, as they are registered.
        uid: Numeric user id of aegir, the same on all servers that share files.
        gid: Numeric group id of aegir, the same on all servers that share files.
        dry_run: Only show what would be done.
    """
    nodes = {node.name: node for node in resolve_servers(unique_or_refuse(servers, "web server"), ABOUT)}
    desired = {name: desired_server(node, uid, gid) for name, node in nodes.items()}
    with hold(Target(ABOUT, tuple(nodes.values()))):
        gathered = join(read_server_facts.map(list(nodes.values()), list(desired.values())))
        plan = plan_fleet({seen.host: (desired[seen.host], seen.value) for seen in gathered if seen.value})
        publish_plan(ABOUT, plan)
        if dry_run:
            publish_drift(ABOUT, (plan,))
        unread = {seen.host: seen.error for seen in gathered if seen.error is not None}
        outcomes = failures_of("read server", unread) + failures_of("plan server", dict(plan.refused))
        if not dry_run:
            planned = [nodes[one.host] for one in plan.plans]
            outcomes += join_outcomes(apply_server_plan.map(planned, list(plan.plans)))
            ready = [node for node in planned if node.name not in outcomes.failed_hosts]
            outcomes += join_outcomes(verify_server.map(ready, [desired[node.name] for node in ready]))
    return conclude(ABOUT, outcomes)
