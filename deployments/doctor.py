"""What is missing on this machine and on the Prefect server, and what to do about it. Changes nothing."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import prefect
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from deployments.bootstrap import BootstrapPlan, find_pool, plan_server
from deployments.bootstrap.facts import find_filled_in, read_automations
from deployments.bootstrap.plan import Step
from deployments.collisions import REMEDY, find_collisions, list_registered
from deployments.connection import NAME_ONE, NO_SERVER, connect, is_named
from flows.locks import find_stuck
from tasks.errors import PackmasterError

Verdict = Literal["ok", "note", "missing"]
PYTHON = ((3, 11), (3, 14))
SECONDS = 10
# Where a server keeps who holds which lock: Prefect's default, and what outlives it.
IN_MEMORY = "prefect.server.concurrency.lease_storage.memory"
IN_FILES = "prefect.server.concurrency.lease_storage.filesystem"
# A program, how it tells its version, and the oldest one that does what is asked of it.
PROGRAMS: Mapping[str, tuple[str, tuple[int, ...], str]] = {
    "ssh": ("-V", (8, 0), "openssh-client"),
    "ssh-keyscan": ("", (), "openssh-client"),
    "rsync": ("--version", (3, 1), "rsync"),
    "tar": ("--version", (1, 29), "tar"),
    "git": ("--version", (2, 20), "git"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `remedy` is what to do next where it is not ok."""

    what: str
    verdict: Verdict
    detail: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.verdict:8} {self.what}: {self.detail}"
        return f"{line}\n         -> {self.remedy}" if self.remedy else line


def examine_machine() -> Iterator[Finding]:
    """What a controller or a worker's machine needs."""
    here, (oldest, newest) = sys.version_info[:2], PYTHON
    fits = oldest <= here < newest
    remedy = "" if fits else "Use Python 3.11 to 3.13"
    yield Finding("python", "ok" if fits else "missing", platform.python_version(), remedy)
    for name, (question, needed, package) in PROGRAMS.items():
        yield judge_program(name, ask_program(name, question), needed, package)


def ask_program(name: str, question: str) -> str | None:
    """What the program says of its version, or None when there is no such program."""
    path = shutil.which(name)
    if path is None or not question:
        return path
    done = subprocess.run([path, question], capture_output=True, text=True, timeout=SECONDS, check=False)
    return (done.stdout + done.stderr).partition("\n")[0].strip()


def judge_program(name: str, said: str | None, needed: tuple[int, ...], package: str) -> Finding:
    """Whether a program is there and new enough; a version that nobody understands is taken."""
    if said is None:
        return Finding(name, "missing", "is not on the PATH", f"apt-get install {package}")
    found = re.search(r"\d+(\.\d+)+", said)
    numbers = tuple(int(part) for part in found[0].split(".")) if found else needed
    if numbers < needed:
        wanted = ".".join(map(str, needed))
        return Finding(name, "missing", f"{said} is too old", f"Install {package} {wanted} or newer")
    return Finding(name, "ok", said)


def examine_server(pool: str | None) -> Iterator[Finding]:
    """What the Prefect server that is named has; one that lets nobody in is asked nothing else."""
    if not is_named():
        yield Finding("server", "missing", NO_SERVER, NAME_ONE)
        return
    with connect() as client:
        url = str(client.api_url)
        problem = client.api_healthcheck()
        if problem is not None:
            remedy = "Start it (`prefect server start`), or correct PREFECT_API_URL"
            yield Finding("server", "missing", f"{url} does not answer: {problem}", remedy)
            return
        try:
            yield judge_version(url, client.api_version())
            pool = pool or find_pool(client)
            plan = plan_server(client, pool)
        except PrefectHTTPStatusError as refused:
            yield judge_refusal(url, refused.response.status_code)
            return
        except PackmasterError as broken:
            yield Finding("deployments", "missing", str(broken), "Correct the file")
            return
        yield from judge_plan(plan, pool)
        yield examine_pool(client, pool)
        yield from examine_locks(client)
        for collision in find_collisions(list_registered()):
            yield Finding("inventory", "note", collision, REMEDY)
        yield from judge_settings(client.request("GET", "/admin/settings").json())
        yield from examine_automations(client)


def judge_version(url: str, theirs: str) -> Finding:
    """Server and client are of the same version, or not of the same minor one."""
    ours = prefect.__version__
    if theirs == ours:
        return Finding("server", "ok", f"{url} answers, Prefect {theirs}")
    same = theirs.split(".")[:2] == ours.split(".")[:2]
    return Finding(
        "server",
        "note" if same else "missing",
        f"{url} has Prefect {theirs}, this machine {ours}",
        "Install the same version on both (requirements.lock)",
    )


def judge_refusal(url: str, status: int) -> Finding:
    """Why the server answered, and not with what was asked for."""
    if status in {401, 403}:
        return Finding("login", "missing", f"{url} refuses us ({status})", "Set PREFECT_API_AUTH_STRING")
    remedy = "Look at the server's log; is PREFECT_API_URL the one that ends in /api?"
    return Finding("server", "missing", f"{url} answered {status}", remedy)


def judge_plan(plan: BootstrapPlan, pool: str) -> Iterator[Finding]:
    """What bootstrap would do is what is missing."""
    remedy = f"packmaster bootstrap --pool {pool}"
    kinds = sorted({step.item.kind for step in plan.steps})
    for kind in kinds:
        steps = [name_step(step) for step in plan.steps if step.item.kind == kind]
        shown = ", ".join(steps[:5]) + (f" and {len(steps) - 5} more" if len(steps) > 5 else "")
        yield Finding(f"{kind}s", "missing", f"not up to date: {shown}", remedy)
    if not kinds:
        yield Finding("deployments, locks, automations", "ok", "are up to date")
    for note in plan.notes:
        yield Finding("switches", "note", note, "If that is not meant, switch it on in the UI")


def name_step(step: Step) -> str:
    """What is to be done, and about which of the fields."""
    fields = ", ".join(detail.partition(":")[0] for detail in step.details)
    return f"{step.action} {step.item.name}" + (f" ({fields})" if fields else "")


def examine_pool(client: SyncPrefectClient, pool: str) -> Finding:
    """Whether anybody takes the runs of the pool."""
    try:
        found = client.read_work_pool(pool)
    except ObjectNotFound:
        return Finding("worker", "missing", f"there is no work pool {pool}", "packmaster bootstrap")
    workers = client.read_workers_for_work_pool(pool)
    live = sorted(worker.name for worker in workers if worker.status == "ONLINE")
    if found.is_paused:
        return Finding("worker", "missing", f"the work pool {pool} is paused", "Resume it in the UI")
    if not live:
        return Finding("worker", "missing", "no worker is alive", f"prefect worker start --pool {pool}")
    if found.concurrency_limit == 1:
        text = f"the work pool {pool} runs one at a time, and resync-all waits for runs of the same pool"
        return Finding("worker", "missing", text, f"prefect work-pool set-concurrency-limit {pool} 4")
    return Finding("worker", "ok", f"{', '.join(live)} on the pool {pool}")


def examine_locks(client: SyncPrefectClient) -> Iterator[Finding]:
    """Whether there are locks that nobody is going to let go, so that whoever wants them waits in vain."""
    for name in find_stuck(client):
        yield Finding(
            f"lock {name}",
            "missing",
            "is taken, and no run that goes on holds it",
            "If it is so in two minutes, and no process of a run that had it is at work any more: "
            f"prefect gcl update {name} --active-slots 0",
        )


def judge_settings(settings: Mapping[str, Any]) -> Iterator[Finding]:
    """What Prefect ships for a trial, and not for a server that is restarted and grows old."""
    server = settings["server"]
    if server["concurrency"]["lease_storage"] == IN_MEMORY:
        text = "when the server is restarted, the locks that runs hold stay taken for ever"
        remedy = f"Start the server with PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE={IN_FILES}"
        yield Finding("settings", "note", text, remedy)
    kept = server["services"]["db_vacuum"]["enabled"]
    if kept is not True and "flow_runs" not in (kept or ()):
        remedy = "Start the server with PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED=events,flow_runs"
        yield Finding("settings", "note", "runs, with their logs and tables, are kept for ever", remedy)


def examine_automations(client: SyncPrefectClient) -> Iterator[Finding]:
    """Whether they are on, and whether anybody is told of a failed night."""
    found = read_automations(client)
    off = sorted(each.name for each in found if not each.enabled)
    if off:
        yield Finding("automations", "note", f"switched off: {', '.join(off)}", "Switch them on in the UI")
    elif found:
        yield Finding("automations", "ok", f"{len(found)} are on")
    if not find_filled_in():
        text = "nobody is told when a nightly run fails"
        remedy = (
            "Fill in the block packmaster-webhook or packmaster-mail in the UI, then packmaster bootstrap"
        )
        yield Finding("telling", "note", text, remedy)


def examine(pool: str | None, *, server: bool = True) -> Iterator[Finding]:
    """Everything; a server that goes away meanwhile is a finding and no error."""
    yield from examine_machine()
    if not server:
        return
    try:
        yield from examine_server(pool)
    except httpx.TransportError as lost:
        yield Finding("server", "missing", f"it stopped answering: {lost}", "Look at its log")
