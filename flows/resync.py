"""The runs that resync-all starts, a few at a time, and what each of them found."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.futures import PrefectFuture, as_completed
from prefect.runtime import flow_run as this_run
from prefect.states import Cancelled

from blocks import Cluster, Pack, Platform, Registered, WebServer
from blocks.inventory_block import InventoryBlock
from tasks.outcome import Outcome

POLL_SECONDS = 2.0
# A server that is restarted is back within these.
TRIES, PAUSE_SECONDS = 5, 30.0


@dataclass(frozen=True, slots=True)
class Job:
    """One run to start: what it is about, of which deployment, with what; `repairs` when it may change."""

    kind: str
    name: str
    deployment: str
    parameters: Mapping[str, Any]
    repairs: bool = False

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found: `rows` of subject, host and difference; `error` when it did not end well."""

    job: Job
    run: str = ""
    rows: tuple[Mapping[str, str], ...] = ()
    error: str = ""

    def as_rows(self) -> list[dict[str, str]]:
        """Rows of the drift report, all with the same columns."""
        if self.job.repairs:
            result = "not repaired: the run failed" if self.error else "repaired"
        else:
            result = "reported"
        return [{"of": self.job.title, **row, "result": result, "run": self.run} for row in self.rows]

    def as_outcome(self) -> Outcome:
        """The run as a line of the outcome table."""
        said = f"{len(self.rows)} difference(s)" if self.rows else "" if self.error else "as it should be"
        changed = self.job.repairs and bool(self.rows) and not self.error
        return Outcome(self.job.title, self.job.deployment, changed, said, self.error or None)


def list_jobs(uid: int, gid: int, *, every_file: bool, dry_run: bool) -> tuple[Job, ...]:
    """A job for every cluster, pack, platform, and server that carries a platform alone."""
    ids = {"uid": uid, "gid": gid, "dry_run": True}
    registered = Registered(Cluster, Pack, Platform)
    platforms = registered.of(Platform)
    alone = {p.target.name for p in platforms.values() if isinstance(p.target, WebServer)}
    groups = [("cluster", name, found.servers) for name, found in registered.of(Cluster).items()]
    groups += [("server", name, [name]) for name in alone]
    jobs = [
        Job(kind, name, "prepare-server", {"servers": list(servers), **ids})
        for kind, name, servers in sorted(groups, key=lambda group: group[:2])
    ]
    for name, pack in sorted(registered.of(Pack).items()):
        jobs.append(Job("pack", name, "provision-pack", {"pack": refer_to(pack), **ids}))
    for name, platform in sorted(platforms.items()):
        repairs = platform.on_drift == "repair" and not dry_run
        wanted = {"platform": refer_to(platform), "every_file": every_file, "dry_run": not repairs}
        jobs.append(Job("platform", name, "verify-platform", wanted, repairs))
    return tuple(jobs)


def refer_to(block: InventoryBlock) -> dict[str, Any]:
    """A block as a parameter of another run: named, never sent."""
    return {"$ref": {"block_document_id": str(block._block_document_id)}}


def run_bounded(jobs: Sequence[Job], at_once: int, seconds: float) -> tuple[Report, ...]:
    """Every job's report, in the jobs' order; never more than `at_once` of their runs at a time."""
    started: list[PrefectFuture[Report]] = []
    waiting: set[PrefectFuture[Report]] = set()
    for job in jobs:
        if len(waiting) >= at_once:
            waiting.discard(next(iter(as_completed(list(waiting)))))
        future = resync.submit(job, seconds)
        started.append(future)
        waiting.add(future)
    return tuple(collect(job, future) for job, future in zip(jobs, started, strict=True))


def collect(job: Job, future: PrefectFuture[Report]) -> Report:
    """The job's report; of one that broke off, that it did. The others' are not lost with it."""
    found = future.result(raise_on_failure=False)
    return found if isinstance(found, Report) else Report(job, error=f"it could not be followed: {found!r}")


@task(name="resync", task_run_name="resync {job.title}", cache_policy=NO_CACHE, persist_result=False)
def resync(job: Job, seconds: float) -> Report:
    """What became of the job's run, however it ended. No error of the server is raised."""
    try:
        run = follow(job, seconds)
        report = Report(job, run.name, read_rows(run), judge(run, seconds))
    except ObjectNotFound:
        return Report(job, error=f"there is no deployment {job.deployment}; run `packmaster bootstrap`")
    except PrefectHTTPStatusError as refused:
        return Report(job, error=f"the server refused the run: {refused.response.text[:500]}")
    except httpx.HTTPError as lost:
        text = f"the server was away for too long ({lost!r}); the run `{name_run(job)}` may go on"
        return Report(job, error=text)
    get_run_logger().info("%s", report.as_outcome())
    return report


def follow(job: Job, seconds: float) -> FlowRun:
    """The job's run when it has ended, or `seconds` later; a server that is away meanwhile is asked again.

    Raises httpx's own error when that is of no use.
    """
    ends = time.monotonic() + seconds
    for tries_left in reversed(range(TRIES)):
        try:
            run = run_deployment(
                f"{job.deployment}/{job.deployment}",
                parameters=dict(job.parameters),
                flow_run_name=name_run(job),
                timeout=max(ends - time.monotonic(), 0),
                poll_interval=POLL_SECONDS,
                # Asked again after a lost answer, the server goes on with the run that it started.
                idempotency_key=f"{this_run.get_id()}-{job.kind}-{job.name}",
            )
            break
        except httpx.TransportError as silent:
            if not tries_left:
                raise
            get_run_logger().warning("the Prefect server is asked again about %s: %r", job.title, silent)
            time.sleep(PAUSE_SECONDS)
    if not isinstance(run, FlowRun):
        raise TypeError(f"run_deployment returned {type(run).__name__}")
    return run


def name_run(job: Job) -> str:
    """What the job's run is called in the UI."""
    return f"resync {job.title}"


def judge(run: FlowRun, seconds: float) -> str:
    """Why the run did not end well, or nothing. One that never began is cancelled: it would come too late."""
    state = run.state
    if state is not None and state.is_final():
        return "" if state.is_completed() else f"{state.name}: {state.message or 'without a message'}"
    late = f"it did not end within {seconds:.0f} s: "
    if run.start_time is not None:
        return f"{late}the run `{run.name}` is still running"
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Cancelled(message="resync-all waits for it no longer"))
    return f"{late}no worker took it, so it was cancelled"


def read_rows(run: FlowRun) -> tuple[Mapping[str, str], ...]:
    """The rows of the run's drift table."""
    of_run = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]), key=ArtifactFilterKey(like_="drift-%")
    )
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=of_run)
    tables = [json.loads(each.data) for each in found if isinstance(each.data, str)]
    return tuple(row for table in tables for row in table if "subject" in row)
