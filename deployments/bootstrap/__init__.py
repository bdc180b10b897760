"""Make a Prefect server ready for Packmaster, and keep it so: what changed is updated, what is gone removed.

What somebody else made is never touched, and what an operator switched off stays off.
"""

from __future__ import annotations

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import PrefectHTTPStatusError

from deployments.bootstrap.apply import Applier
from deployments.bootstrap.desired import describe_server
from deployments.bootstrap.facts import find_filled_in, find_locks, find_pool, read_server
from deployments.bootstrap.plan import BootstrapPlan, Step, plan_bootstrap
from deployments.definitions import read_automations, read_deployments
from tasks.errors import PackmasterError

__all__ = ["BootstrapPlan", "apply_steps", "find_pool", "plan_server"]


def plan_server(client: SyncPrefectClient, pool: str, *, reset_switches: bool = False) -> BootstrapPlan:
    """What the server of `client` lacks, or has too much; nothing is changed."""
    desired = describe_server(
        read_deployments(), read_automations(), find_locks(), pool, filled_in=find_filled_in()
    )
    return plan_bootstrap(desired, read_server(client, pool), reset_switches=reset_switches)


def apply_steps(plan: BootstrapPlan, pool_type: str = "process") -> None:
    """Carry the plan out; raises PackmasterError, naming the step and the server's words, when one fails."""
    automations = {automation.name: automation for automation in read_automations()}
    with get_client(sync_client=True) as client:
        applier = Applier(client, automations, pool_type)
        for step in plan.steps:
            _apply(applier, step)


def _apply(applier: Applier, step: Step) -> None:
    try:
        applier.apply(step)
    except PrefectHTTPStatusError as refused:
        raise PackmasterError(
            f"the server refused to {step.action} the {step.item.kind} {step.item.name}: "
            f"{refused.response.status_code} {refused.response.text[:500]}. What came before it is done"
        ) from refused
