"""docker/production on the nodes of the bed: brought up, with a calm run, and one whose worker is killed."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.nodes.conftest import pause, remove_runs
from tests.nodes.prepared import KINDS, prepared
from tests.nodes.service import find_port
from tests.nodes.sources import Sources
from tests.nodes.stack import LONG_RUNNING, PRODUCTION, Stack, wait_for

PAIR = {"$ref": {"block_document_slug": "packmaster-cluster/prod-pair"}}
SINGLE = {"$ref": {"block_document_slug": "packmaster-cluster/prod-single"}}
CLUSTERS = {"prod-pair": ["web1", "web3"], "prod-single": ["web2"]}
CURRENT = "/var/aegir/platforms/{}/current/index.php"
# Three heartbeats of a run; nine minutes, as it is shipped, would be a long test.
ZOMBIE_SECONDS = 90
# PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL of the Compose file.
RECORDER_SECONDS = 5
WAITS = "waiting for the locks"
# A stack that a developer keeps has the platforms of the session before.
SESSION = f"{time.time():.0f}"[-6:]
KEEP = os.environ.get("PACKMASTER_KEEP", "") not in {"", "0"}


@pytest.fixture(scope="module")
def stack(bed: Any) -> Iterator[Stack]:
    """The stack, up and healthy, with its images built from this working tree."""
    home = Path(os.environ["PACKMASTER_STATE"]) / "production"
    home.mkdir(parents=True, exist_ok=True)
    with Sources().served(bed.controller) as sources:
        stack = Stack(f"{bed.project}-stack", home, remembered_port(home), sources)
        stack.run(str(PRODUCTION / "prepare"))
        stack.compose("build", "postgres", "redis", "proxy", "api1")
        if not KEEP:
            stack.compose("down", "--volumes", "--timeout", "2")
        try:
            stack.compose("up", "-d", "--no-build")
            stack.connect()
            stack.wait_healthy(*LONG_RUNNING)
            yield stack
        finally:
            if not KEEP:
                stack.compose("kill", "worker1", "worker2", check=False)
                remove_runs(bed.project)
                stack.compose("down", "--volumes", "--timeout", "2", check=False)


def remembered_port(home: Path) -> int:
    """The port of a stack that a developer keeps, or a free one."""
    path = home / "port"
    if not KEEP or not path.exists():
        path.write_text(str(find_port()))
    return int(path.read_text())


@pytest.fixture(scope="module")
def ready(stack: Stack, bed: Any) -> Stack:
    """The nodes are prepared and registered, and zombies are noticed sooner."""
    prepared(bed, "web1", "web2", "web3")
    path = stack.write_inventory(bed, KINDS, CLUSTERS)
    assert "changed" in stack.packmaster("inventory", "apply", str(path))
    (zombies,) = [
        automation
        for automation in stack.ask("POST", "/automations/filter", {})
        if automation["name"] == "packmaster: crash zombie runs"
    ]
    zombies["trigger"]["within"] = ZOMBIE_SECONDS
    kept = {key: zombies[key] for key in ("name", "description", "enabled", "trigger", "actions", "tags")}
    stack.ask("PUT", f"/automations/{zombies['id']}", kept)
    return stack


@pytest.fixture(scope="module")
def undisturbed(ready: Stack, docker_exec: Any) -> Counter[tuple[str, str]]:
    """The task runs of a create-platform to which nothing happened."""
    run = ready.create(named("calm"), SINGLE, ready.sources.offer(named("calm"), held=False))
    state = ready.follow(run)
    assert state["type"] == "COMPLETED", (state, ready.logs(run))
    assert f"served by {named('calm')}" in docker_exec("web2", "cat", CURRENT.format(named("calm")))
    return settled(ready, run)


@pytest.fixture(scope="module")
def killed(ready: Stack, docker_exec: Any, bed: Any) -> str:
    """A run whose worker was killed when one node of two was staged. The worker is back since."""
    source = ready.sources.offer(named("killed"), held=True)
    run = begin(ready, named("killed"), PAIR, source)
    worker = ready.worker_of(f"create {named('killed')}")
    wait_for("both nodes are read", lambda: ready.tasks(run)["read", "COMPLETED"] >= 2, 180)
    pause(f"{bed.project}-web3")
    try:
        ready.sources.release(named("killed"))
        staged = f"/var/aegir/platforms/{named('killed')}/releases"
        wait_for("web1 is staged", lambda: docker_exec("web1", "ls", "-A", staged, check=False), 180)
        ready.docker("kill", worker, "--signal", "KILL")
    finally:
        ready.run("docker", "unpause", f"{bed.project}-web3")
    assert ready.state(run)["type"] == "RUNNING"
    ready.docker("start", worker)
    return run


def named(word: str) -> str:
    """A platform that is this session's own."""
    return f"prod-{word}-{SESSION}"


def begin(stack: Stack, platform: str, target: dict[str, Any], source: dict[str, str]) -> str:
    """A run that has its locks, for it has read a server, and waits for its source.

    It asks for both at once; and where Redis goes away before it has its locks, one can stay taken for ever.
    """
    run = stack.create(platform, target, source)
    fetched = partial(stack.sources.fetched.__getitem__, platform)
    wait_for(lambda: f"{platform} asks for its source: {stack.logs(run)}", fetched, 300)
    wait_for(
        lambda: f"{platform} has read a server: {stack.tasks(run)}",
        lambda: stack.tasks(run)["read", "COMPLETED"],
        180,
    )
    return run


def settled(stack: Stack, run: str) -> Counter[tuple[str, str]]:
    """The task runs of a run that has ended, when all of them are recorded as ended."""
    # Those of the last seconds are written with the next batch, or the one after.
    time.sleep(RECORDER_SECONDS * 2)

    def recorded() -> Counter[tuple[str, str]] | None:
        tasks = stack.tasks(run)
        return tasks if tasks and {state for _, state in tasks} <= {"COMPLETED"} else None

    return wait_for(lambda: f"every task run is recorded: {stack.tasks(run)}", recorded, 180)


def check_whole(
    stack: Stack, run: str, platform: str, undisturbed: Counter[tuple[str, str]], *, every_line: bool = True
) -> None:
    """The run came to its end, once, and nothing of what it did is missing; of its log, `every_line`."""
    state = stack.follow(run)
    assert state["type"] == "COMPLETED", (state, stack.logs(run))
    assert stack.sources.fetched[platform] == 1, "it ran once"
    assert stack.states(run).count("Running") == 1
    assert stack.ask("GET", f"/flow_runs/{run}")["run_count"] == 1
    wait_for(lambda: f"{stack.tasks(run)} is {undisturbed}", lambda: stack.tasks(run) == undisturbed, 180)
    # Sent beside the run: a batch that waits for a dead server is there seconds after the end of the run.
    lines = [WAITS, f"plan for deploy {platform}"] if every_line else [WAITS]
    wait_for(lambda: f"{lines} in {stack.logs(run)}", lambda: has_lines(stack, run, lines), 180)
    assert stack.ask("GET", f"/artifacts/plan-deploy-{platform}/latest")["flow_run_id"] == run
    table = stack.ask("GET", f"/artifacts/outcome-deploy-{platform}/latest")
    assert "FAILED" not in table["description"]
    wait_for("its lock is free", lambda: stack.lock("web2") == 0, 10)


def has_lines(stack: Stack, run: str, lines: list[str]) -> bool:
    logs = "\n".join(stack.logs(run))
    return all(line in logs for line in lines)
