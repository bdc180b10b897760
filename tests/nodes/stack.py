"""docker/production as somebody runs it, faults included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from tests.nodes.sources import Sources

ROOT = Path(__file__).resolve().parents[2]
PRODUCTION = ROOT / "docker" / "production"
FILES = (PRODUCTION / "compose.yaml", Path(__file__).with_name("production.yaml"))
LONG_RUNNING = ("postgres", "redis", "api1", "api2", "services", "proxy", "worker1", "worker2", "backup")
UP_SECONDS = 240
RUN_SECONDS = 300
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
T = TypeVar("T")


def wait_for(what: str | Callable[[], str], ready: Callable[[], T], seconds: float) -> T:
    """What `ready` gives once that is true; fails when it does not become so. A server may be away.

    A `what` that is called says what is there when the time is up, not what was there in the beginning.
    """
    ends = time.monotonic() + seconds
    while True:
        with suppress(httpx.TransportError):
            if found := ready():
                return found
        if time.monotonic() > ends:
            said = what if isinstance(what, str) else what()
            pytest.fail(f"not within {seconds:.0f} s: {said}", pytrace=False)
        time.sleep(0.5)


@dataclass
class Stack:
    """The stack of one project: started, broken and asked from outside."""

    project: str
    home: Path
    port: int
    sources: Sources
    environment: dict[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = FILES

    def __post_init__(self) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.environment = clean | {
            "COMPOSE_PROJECT_NAME": self.project,
            "PACKMASTER_SECRETS": str(self.home / "secrets"),
            "PACKMASTER_LISTEN": f"127.0.0.1:{self.port}",
            "PACKMASTER_URL": f"http://127.0.0.1:{self.port}",
            "PACKMASTER_QUERY_SECONDS": "2",
            "PACKMASTER_DRAIN": "120s",
            "PACKMASTER_RUN_NETWORKS": f"{self.project}_outside {os.environ['PACKMASTER_PROJECT']}_bed",
            "DOCKER_BUILDKIT": "0",
        }

    def run(self, *command: str, check: bool = True, seconds: float = 900) -> str:
        done = subprocess.run(
            command,
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and done.returncode != 0:
            pytest.fail(f"{' '.join(command)}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}", pytrace=False)
        return done.stdout

    def compose(self, *arguments: str, check: bool = True) -> str:
        plugin = subprocess.run(("docker", "compose", "version"), capture_output=True, check=False)
        program = ("docker-compose",) if plugin.returncode else ("docker", "compose")
        files = [word for path in self.files for word in ("-f", str(path))]
        return self.run(*program, *files, *arguments, check=check)

    def container(self, service: str) -> str:
        labels = (f"com.docker.compose.project={self.project}", f"com.docker.compose.service={service}")
        filters = [word for label in labels for word in ("--filter", f"label={label}")]
        (found,) = self.run("docker", "ps", "--all", "--quiet", *filters).split()
        return found

    def docker(self, verb: str, service: str, *options: str) -> None:
        self.run("docker", verb, *options, self.container(service))

    def inside(self, service: str, *command: str, check: bool = True) -> str:
        return self.run("docker", "exec", self.container(service), *command, check=check)

    def health(self, service: str) -> str:
        template = "{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{end}}"
        return self.run("docker", "inspect", "--format", template, self.container(service)).strip()

    def restarts(self, service: str) -> int:
        """How often Docker has started it again by itself, after it had ended."""
        return int(self.run("docker", "inspect", "--format", "{{.RestartCount}}", self.container(service)))

    def said(self, service: str) -> str:
        """All that its process has said since it was started."""
        container = self.container(service)
        begun = self.run("docker", "inspect", "--format", "{{.State.StartedAt}}", container).strip()
        return self.run("sh", "-c", f"docker logs --since {begun} {container} 2>&1")

    def wait_healthy(self, *services: str, seconds: float = UP_SECONDS) -> None:
        for service in services:
            wait_for(f"{service} is healthy", partial(self.is_healthy, service), seconds)

    def is_healthy(self, service: str) -> bool:
        return self.health(service) == "running healthy"

    # What another system and an operator see.

    def connect(self) -> None:
        """From here on the API is asked through the proxy, with the login that was made."""
        login = (self.home / "secrets" / "api_login").read_text().strip()
        self.environment |= {
            "PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api",
            "PREFECT_API_AUTH_STRING": login,
            "PREFECT_API_SSL_CERT_FILE": os.environ["PREFECT_API_SSL_CERT_FILE"],
            "PREFECT_HOME": str(self.home / "prefect"),
            "PYTHONPATH": str(ROOT),
        }

    def packmaster(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "deployments.cli", *arguments)

    def request(self, method: str, path: str, body: Any = None, *, login: bool = True) -> httpx.Response:
        user, _, password = self.environment["PREFECT_API_AUTH_STRING"].partition(":")
        url = self.environment["PREFECT_API_URL"]
        auth = (user, password) if login else None
        with httpx.Client(auth=auth, timeout=30) as client:
            headers = {}
            if method != "GET" and login:
                token = client.get(f"{url}/csrf-token?client=tests")
                if token.status_code != 200:
                    return token
                headers = {"Prefect-Csrf-Client": "tests", "Prefect-Csrf-Token": token.json()["token"]}
            return client.request(method, url + path, json=body, headers=headers)

    def page(self, path: str) -> httpx.Response:
        """What a browser gets, before it says who it is."""
        return httpx.get(self.environment["PACKMASTER_URL"] + path, timeout=30, follow_redirects=True)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What the API answers; a stack that has just lost a part is asked again for a while."""

        def answered() -> httpx.Response | None:
            answer = self.request(method, path, body)
            return None if answer.status_code in {500, 502, 503, 504} else answer

        answer = wait_for(f"an answer to {method} {path}", answered, 180)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def create(self, platform: str, target: Mapping[str, Any], source: Mapping[str, str]) -> str:
        """A run of create-platform; its id."""
        deployment = self.ask("GET", "/deployments/name/create-platform/create-platform")["id"]
        parameters = {"platform": platform, "target": target, **source}
        body = {"parameters": parameters, "idempotency_key": f"{platform}-{time.time()}"}
        return str(self.ask("POST", f"/deployments/{deployment}/create_flow_run", body)["id"])

    def state(self, run: str) -> dict[str, Any]:
        return dict(self.ask("GET", f"/flow_runs/{run}")["state"])

    def follow(self, run: str, seconds: float = RUN_SECONDS) -> dict[str, Any]:
        def ended() -> dict[str, Any] | None:
            state = self.state(run)
            return state if state["type"] in ENDED else None

        return wait_for(lambda: f"the run {run} ends: {self.history(run)}", ended, seconds)

    def history(self, run: str) -> str:
        """What became of a run, by its events and what automations did, and what the services said last."""
        wanted = {"resource": {"id": [f"prefect.flow-run.{run}"]}}
        own = self.ask("POST", "/events/filter", {"filter": wanted})["events"]
        acts = {"event": {"prefix": ["prefect.automation."]}}
        acts = self.ask("POST", "/events/filter", {"filter": acts})["events"]
        told = [f"{one['occurred']} {one['event']}" for one in own]
        told += [f"{one['occurred']} {one['event']} {one['payload']}"[:400] for one in acts[:10]]
        said = self.run("sh", "-c", f"docker logs --tail 40 {self.container('services')} 2>&1")
        return "\n".join([str(self.state(run)), *told, said])

    def tasks(self, run: str) -> Counter[tuple[str, str]]:
        """How many task runs of which name are in which state."""
        body = {"flow_runs": {"id": {"any_": [run]}}, "limit": 200}
        found = self.ask("POST", "/task_runs/filter", body)
        return Counter((str(task["name"]).split(" ")[0], str(task["state_type"])) for task in found)

    def states(self, run: str) -> list[str]:
        """Every state that a run has been in."""
        found = self.ask("GET", f"/flow_run_states/?flow_run_id={run}")
        return [str(state["name"]) for state in sorted(found, key=lambda state: state["timestamp"])]

    def logs(self, run: str) -> list[str]:
        body = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        return [str(line["message"]) for line in self.ask("POST", "/logs/filter", body)]

    def worker_of(self, run_name: str) -> str:
        """The worker whose container shows what a run says. Both may have tried to take it."""

        def showing() -> str | None:
            for name in ("worker1", "worker2"):
                command = ("docker", "logs", self.container(name))
                done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
                if f"'{run_name}'" in done.stdout + done.stderr:
                    return name
            return None

        return wait_for(f"a worker shows the run {run_name}", showing, 180)

    def lock(self, server: str) -> int:
        """How many hold the lock of a server."""
        found = self.ask("GET", f"/v2/concurrency_limits/packmaster-server-{server}")
        return int(found["active_slots"])

    def write_inventory(self, bed: Any, kinds: Mapping[str, str], clusters: Mapping[str, list[str]]) -> Path:
        (self.home / "key").write_text(Path(bed.private_key).read_text())
        servers = {
            name: {
                "address": bed.addresses[name],
                "kind": kinds[name],
                "credentials": "fleet",
                "host_keys": [bed.host_keys[name]],
            }
            for name in {name for members in clusters.values() for name in members}
        }
        document = {
            "ssh_credentials": {"fleet": {"private_key": {"file": "key"}}},
            "web_servers": servers,
            "clusters": {name: {"servers": members} for name, members in clusters.items()},
        }
        (self.home / "inventory.yaml").write_text(json.dumps(document))
        return self.home / "inventory.yaml"
