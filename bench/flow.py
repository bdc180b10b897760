"""The flow create-platform, called in-process from start to return, as a worker calls it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import TaskRun
from prefect.client.schemas.sorting import TaskRunSort

from bench.bed import Bed
from bench.engine import KEEP
from bench.results import Span, split_time
from blocks import BLOCK_TYPES, Cluster, SshCredentials, WebServer
from flows.create_platform import create_platform

CLUSTER = "bench"
RECORDED_SECONDS = 20.0


def prepare(bed: Bed, platform: str) -> None:
    """The nodes are registered as an operator would register them."""
    for block_type in BLOCK_TYPES:
        block_type.register_type_and_schema()
    key = bed.nodes[0].private_key
    SshCredentials(private_key=key).save(CLUSTER, overwrite=True)
    credentials = SshCredentials.get(CLUSTER, platform)
    for node in bed.nodes:
        server = WebServer(
            address=node.address, kind=node.kind, credentials=credentials, host_keys=list(node.host_keys)
        )
        server.save(node.name, overwrite=True)
    Cluster(servers=[node.name for node in bed.nodes]).save(CLUSTER, overwrite=True)


def distribute(bed: Bed, source: Path, platform: str) -> tuple[float, Callable[[], Mapping[str, float]]]:
    """Run the flow, and measure until it is Completed, for the UI and other systems; raises when it fails.

    After that the call waits for Prefect's heartbeat thread, which sleeps in whole seconds; nobody else does.
    """
    started = time.time()
    target = Cluster.get(CLUSTER, platform)
    state = create_platform(
        platform=platform, target=target, source=str(source), keep_releases=KEEP, return_state=True
    )
    state.result()
    seconds = state.timestamp.timestamp() - started
    run = state.state_details.flow_run_id
    return seconds, lambda: split_time(seconds, map(_span, _read_task_runs(run)) if run else ())


def _read_task_runs(flow_run: UUID) -> list[TaskRun]:
    """All task runs of a flow run once the server has recorded their ends, which it does a little later."""
    ends = time.monotonic() + RECORDED_SECONDS
    only = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))
    with get_client(sync_client=True) as client:
        while True:
            runs = client.read_task_runs(
                flow_run_filter=only, sort=TaskRunSort.EXPECTED_START_TIME_DESC, limit=200
            )
            if time.monotonic() > ends or (runs and all(run.end_time for run in runs)):
                return runs
            time.sleep(0.5)


def _span(run: TaskRun) -> Span:
    """What kind of task it was, and when it ran; the kind is what its name begins with."""
    if run.start_time is None or run.end_time is None:
        return Span(run.name, 0.0, 0.0)
    return Span(run.name.split(" ")[0], run.start_time.timestamp(), run.end_time.timestamp())
