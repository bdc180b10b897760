"""A share that others keep available: its cluster is looked at, and never touched."""

from __future__ import annotations

from tasks.external import facts
from tasks.external.findings import find_cluster
from tasks.external.values import MemberSight
from tasks.fleet import Machine
from tasks.steps import fact_task

__all__ = ["MemberSight", "find_cluster", "look_at_member"]


@fact_task("look at cluster", run_name="look at the cluster on {machine.name}", retries=0)
def look_at_member(machine: Machine) -> MemberSight:
    """What one server of the cluster says of DRBD, Pacemaker, and what clients know it by."""
    return facts.look_at_member(machine)
