"""docker/production, whole, on the nodes of the bed; and a run when a part of it goes away."""

from __future__ import annotations

import re
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.nodes.production import (
    CURRENT,
    PAIR,
    SINGLE,
    WAITS,
    ZOMBIE_SECONDS,
    begin,
    check_whole,
    killed,
    named,
    ready,
    stack,
    undisturbed,
)
from tests.nodes.stack import LONG_RUNNING, PRODUCTION, Stack, wait_for

__all__ = ["killed", "ready", "stack", "undisturbed"]

# What `services` had in hand when it lost Redis for a moment, it is handed out again after five minutes, by a
# sweep that comes every 75 s, give or take a quarter (docket; docs/production.md).
REDELIVERY_SECONDS = 300 + 95
# Images are built and a dozen processes started, on a machine that may have other things to do.
pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(autouse=True)
def nothing_held(stack: Stack) -> Iterator[None]:
    """A run that a failed test left waiting for its source would keep its locks from those of the next."""
    yield
    stack.sources.release_all()


def test_it_is_up_and_lets_nobody_in(stack: Stack) -> None:
    assert stack.request("GET", "/ready", login=False).status_code == 200
    assert stack.request("GET", "/block_types/slug/packmaster-site", login=False).status_code == 401
    assert stack.request("POST", "/flow_runs/filter", {}, login=False).status_code in {401, 403}
    page = stack.page("/")
    assert page.status_code == 200
    assert "<html" in page.text
    said = stack.packmaster("doctor")
    assert "worker1, worker2 on the pool packmaster" in said
    assert said.endswith("nothing is missing\n")


def test_secrets_are_in_files_alone(stack: Stack) -> None:
    """What `docker inspect` shows of a container, and what a worker was given."""
    secrets = {path.name: path.read_text().strip() for path in (stack.home / "secrets").iterdir()}
    assert len(secrets) == 4
    for service in LONG_RUNNING:
        shown = stack.run("docker", "inspect", stack.container(service))
        assert not [name for name, secret in secrets.items() if secret in shown], service
    assert stack.inside("worker1", "ls", "/run/secrets").split() == ["api_login"]
    owners = "grep -ls 'packmaster/bi[n]' /proc/[0-9]*/cmdline | xargs stat -c %U | sort -u"
    assert stack.inside("api1", "sh", "-c", owners).split() == ["packmaster"]


def test_a_platform_is_created(undisturbed: Counter[tuple[str, str]]) -> None:
    assert sum(undisturbed.values()) > 3


def test_what_is_scheduled_runs(undisturbed: object, ready: Stack) -> None:
    deployment = ready.ask("GET", "/deployments/name/check-share/check-share")["id"]
    ended = {"state": {"type": {"any_": ["COMPLETED"]}}}
    wanted = {"deployments": {"id": {"any_": [deployment]}}, "flow_runs": ended}

    def scheduled() -> list[Any]:
        return [run for run in ready.ask("POST", "/flow_runs/filter", wanted) if run["auto_scheduled"]]

    wait_for("check-share was run by its schedule", scheduled, 180)


def test_a_run_that_ended_long_ago_is_forgotten(ready: Stack) -> None:
    flow = ready.ask("POST", "/flows/", {"name": "long-ago"})["id"]
    body = {"flow_id": flow, "state": {"type": "COMPLETED"}}
    old, new = (ready.ask("POST", "/flow_runs/", body)["id"] for _ in range(2))
    login = "PGPASSWORD=$(cat /run/secrets/postgres_password) psql -h 127.0.0.1 -U prefect -d prefect"
    query = f"UPDATE flow_run SET end_time = now() - interval '91 days' WHERE id = '{old}'"
    assert "UPDATE 1" in ready.inside("postgres", "sh", "-c", f'{login} -c "{query}"')
    wait_for("it is gone", lambda: ready.request("GET", f"/flow_runs/{old}").status_code == 404, 300)
    assert ready.state(new)["type"] == "COMPLETED"


def test_workers_are_replaced_while_runs_go_on(
    killed: object, ready: Stack, undisturbed: Counter[tuple[str, str]]
) -> None:
    """One after the other, each while it has a run: `docker compose up` as an upgrade does it."""
    run = begin(ready, named("roll"), SINGLE, ready.sources.offer(named("roll"), held=True))
    worker = ready.worker_of(f"create {named('roll')}")
    other = {"worker1": "worker2", "worker2": "worker1"}[worker]
    old = ready.container(worker)
    ready.run("docker", "kill", "--signal", "TERM", old)
    time.sleep(5)
    assert ready.health(worker).startswith("running"), "it waits for its run"
    ready.sources.release(named("roll"))
    check_whole(ready, run, named("roll"), undisturbed)
    for name in (worker, other):
        ready.compose("up", "-d", "--no-deps", "--no-build", "--force-recreate", name)
        ready.wait_healthy(name)
    assert ready.container(worker) != old


def test_the_run_of_a_killed_worker_is_crashed_and_the_next_one_converges(
    ready: Stack, killed: str, docker_exec: Any
) -> None:
    # The heartbeats of a run that was killed meanwhile stay away. Servers are whole until it is crashed: an
    # automation whose evaluation they take down with them comes minutes late.
    state = ready.follow(killed, ZOMBIE_SECONDS + 60 + REDELIVERY_SECONDS)
    assert state["type"] == "CRASHED", state
    assert "No heartbeat" in state["message"]
    # What frees the locks of the dead may be late for the same reason.
    free_seconds = 60 + REDELIVERY_SECONDS
    wait_for("its locks are free", lambda: ready.lock("web1") + ready.lock("web3") == 0, free_seconds)
    again = ready.create(named("killed"), PAIR, ready.sources.offer(named("killed"), held=False))
    assert ready.follow(again)["type"] == "COMPLETED", ready.logs(again)
    for node in ("web1", "web3"):
        assert f"served by {named('killed')}" in docker_exec(node, "cat", CURRENT.format(named("killed")))
        leftovers = docker_exec(node, "ls", "-A", f"/var/aegir/platforms/{named('killed')}/releases").split()
        assert not [name for name in leftovers if name.startswith(".staging")]


def test_an_api_server_is_killed_under_a_run(ready: Stack, undisturbed: Counter[tuple[str, str]]) -> None:
    run = begin(ready, named("api"), SINGLE, ready.sources.offer(named("api"), held=True))
    ready.sources.release(named("api"))
    ready.docker("kill", "api1", "--signal", "KILL")
    check_whole(ready, run, named("api"), undisturbed)
    ready.docker("start", "api1")


def test_an_event_that_redis_could_not_keep_is_taken_when_it_is_sent_again(ready: Stack) -> None:
    """As when Redis goes away between its note that it saw an event and the event itself."""
    identifier = str(uuid.uuid4())
    now = datetime.now(UTC).isoformat()
    resource = {"prefect.resource.id": "packmaster.test.redis"}
    event = {"id": identifier, "occurred": now, "event": "packmaster.test", "resource": resource}
    allow = "export REDISCLI_AUTH=$(cat /run/secrets/redis_password); redis-cli ACL SETUSER default"
    ready.inside("redis", "sh", "-c", f"{allow} -xadd -del")
    try:
        assert ready.request("POST", "/events", [event]).status_code == 500
    finally:
        ready.inside("redis", "sh", "-c", f"{allow} +@all")
    ready.ask("POST", "/events", [event])
    wanted = {"filter": {"id": {"id": [identifier]}}}
    wait_for("the event is there", lambda: ready.ask("POST", "/events/filter", wanted)["events"], 180)


def test_redis_is_restarted_under_a_run(ready: Stack, undisturbed: Counter[tuple[str, str]]) -> None:
    run = begin(ready, named("redis"), SINGLE, ready.sources.offer(named("redis"), held=True))
    ready.docker("stop", "redis")
    ready.sources.release(named("redis"))
    time.sleep(3)
    ready.docker("start", "redis")
    check_whole(ready, run, named("redis"), undisturbed)


def test_the_database_is_restarted_under_a_run(ready: Stack, undisturbed: Counter[tuple[str, str]]) -> None:
    run = begin(ready, named("postgres"), SINGLE, ready.sources.offer(named("postgres"), held=True))
    wait_for("its first lines are stored", lambda: WAITS in "\n".join(ready.logs(run)), 180)
    ready.docker("stop", "postgres")
    ready.sources.release(named("postgres"))
    time.sleep(5)
    ready.docker("start", "postgres")
    # Lines that are sent to a server without its database are not sent again (docs/production.md).
    check_whole(ready, run, named("postgres"), undisturbed, every_line=False)


def test_services_that_began_without_a_database_begin_again(ready: Stack, undisturbed: object) -> None:
    """As after a reboot, when all containers begin at once: what evaluates automations never did."""
    ready.docker("stop", "postgres")
    ready.docker("restart", "services")
    begun = ready.restarts("services")
    wait_for("it has begun", lambda: "Starting automation change listener" in ready.said("services"), 300)
    ready.docker("start", "postgres")
    wait_for("it was ended", lambda: ready.restarts("services") > begun, 400)
    ready.wait_healthy("services")
    run = ready.create(named("begun"), SINGLE, ready.sources.offer(named("begun"), held=False))
    assert ready.follow(run)["type"] == "COMPLETED", ready.logs(run)
    looked = re.compile(rf"covers event 'prefect.flow-run.Completed' .* for 'prefect.flow-run.{run}'")
    wait_for("automations are evaluated", lambda: looked.search(ready.said("services")), 180)


def test_the_database_comes_back_from_its_backup(ready: Stack, undisturbed: object) -> None:
    said = ready.compose("exec", "-T", "backup", "backup", "once")
    name = said.removeprefix("dumped to /var/backups/prefect/").partition(":")[0]
    before = ready.ask("GET", "/variables/name/packmaster")["value"]
    ready.ask("DELETE", "/variables/name/packmaster")
    apart = ("worker1", "worker2", "services", "api1", "api2")
    ready.compose("stop", "--timeout", "5", *apart)
    assert ready.compose("exec", "-T", "backup", "restore", name) == f"restored /var/backups/prefect/{name}\n"
    ready.compose("exec", "-T", "redis", "forget")
    ready.compose("start", *reversed(apart))
    ready.wait_healthy("api1", "proxy")
    assert ready.ask("GET", "/variables/name/packmaster")["value"] == before
    said = ready.packmaster("bootstrap")
    assert "update    automation packmaster: crash zombie runs" in said
    assert said.endswith("\n1 change(s)\n")


@pytest.mark.parametrize("command", ["backup once", "restore of-another-day.dump"])
def test_dumps_and_restores_wait_for_each_other(stack: Stack, command: str) -> None:
    waits = f"flock /run/lock/dumps timeout 3 {command}; test $? -eq 124"
    assert stack.inside("backup", "sh", "-c", waits) == ""


def test_on_a_docker_pool_a_run_outlives_its_worker(
    ready: Stack, undisturbed: Counter[tuple[str, str]], docker_exec: Any
) -> None:
    ready.files += (PRODUCTION / "docker-pool.yaml",)
    ready.compose("up", "--no-build", "--no-deps", "bootstrap")
    ready.compose("up", "-d", "--no-build", "--no-deps", "worker1", "worker2")
    ready.wait_healthy("worker1", "worker2")
    run = begin(ready, named("docker"), SINGLE, ready.sources.offer(named("docker"), held=True))
    worker = ready.worker_of(f"create {named('docker')}")
    ready.docker("kill", worker, "--signal", "KILL")
    ready.sources.release(named("docker"))
    check_whole(ready, run, named("docker"), undisturbed)
    assert f"served by {named('docker')}" in docker_exec("web2", "cat", CURRENT.format(named("docker")))
    ready.docker("start", worker)
