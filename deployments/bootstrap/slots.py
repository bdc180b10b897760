"""Slots of a deployment that no run has: every new run is cancelled, or waits, and nothing says why.

Prefect takes a slot when a run becomes pending, and gives it back when the run ends or its lease runs out.
Leases that are kept in memory (PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE) die with the server: what had a slot
then keeps it for good. Kept in files, they end as ever (measured: 306 s after the server was killed).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse

PAGE = 200
LOOK_SECONDS = 1.0
# A paused run has given its slot back.
WITH_A_SLOT = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
# The worker that took such a run died before it began.
PENDING_FOR_EVER = timedelta(minutes=10)


def find_wedged(client: SyncPrefectClient, deployments: Sequence[DeploymentResponse]) -> dict[UUID, int]:
    """The deployments of which more slots are taken than runs have one, and how many runs do.

    Looked at twice, for a run may begin or end between two questions.
    """
    wedged = _list_wedged(client, deployments)
    if wedged:
        time.sleep(LOOK_SECONDS)
        again = [client.read_deployment(deployment) for deployment in wedged]
        wedged = _list_wedged(client, again)
    return wedged


def free_slots(client: SyncPrefectClient, deployment: UUID) -> None:
    """As many slots of the deployment are taken as its runs have."""
    found = client.read_deployment(deployment)
    if found.global_concurrency_limit is None:
        return
    for live in find_wedged(client, [found]).values():
        client.update_global_concurrency_limit(
            found.global_concurrency_limit.name, GlobalConcurrencyLimitUpdate(active_slots=live)
        )


def _list_wedged(client: SyncPrefectClient, deployments: Iterable[DeploymentResponse]) -> dict[UUID, int]:
    limits = [(found.id, found.global_concurrency_limit) for found in deployments]
    taken = {identity: limit.active_slots for identity, limit in limits if limit and limit.active_slots}
    live = _count_runs(client, list(taken)) if taken else Counter()
    return {identity: live[identity] for identity, slots in taken.items() if slots > live[identity]}


def _count_runs(client: SyncPrefectClient, deployments: list[UUID]) -> Counter[UUID | None]:
    types = FlowRunFilterState(type=FlowRunFilterStateType(any_=WITH_A_SLOT))
    seen: list[FlowRun] = []
    while page := client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=types),
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=deployments)),
        limit=PAGE,
        offset=len(seen),
    ):
        seen += page
        if len(page) < PAGE:
            break
    return Counter(run.deployment_id for run in seen if _goes_on(run))


def _goes_on(run: FlowRun) -> bool:
    if run.state is None or run.state.type != StateType.PENDING:
        return True
    return datetime.now(UTC) - run.state.timestamp < PENDING_FOR_EVER
