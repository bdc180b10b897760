"""Packmaster as a service: a Prefect server with a login and CSRF protection, its worker, and a listener."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.prefect_database import lay_database

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "deployments" / "examples"
LOGIN = "admin:service-login-5f0a"
POOL = "service"
START_SECONDS = 300


def find_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Listener:
    """Another system: it takes whatever is posted to it."""

    heard: list[dict[str, Any]] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    url: str = ""

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        heard, paths = self.heard, self.paths

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                paths.add(self.path)
                heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            server.shutdown()


@dataclass
class Service:
    """A server and its worker, spoken to as other systems and operators do."""

    home: Path
    port: int
    listener: Listener
    environment: dict[str, str] = field(default_factory=dict)
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.environment = clean | {
            "PREFECT_HOME": str(self.home / "prefect"),
            "PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api",
            "PREFECT_API_AUTH_STRING": LOGIN,
            "PREFECT_SERVER_API_AUTH_STRING": LOGIN,
            "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
            "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
            "PREFECT_SERVER_ENCRYPTION_KEY": "3q2-7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_ENABLED": "false",
            # No test waits for the night.
            "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_API_SSL_CERT_FILE": os.environ["PREFECT_API_SSL_CERT_FILE"],
            "PACKMASTER_HOME": str(self.home / "controller"),
            "PYTHONPATH": str(ROOT),
        }  # fmt: skip

    @property
    def log(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in sorted(self.home.glob("*.log")))

    def spawn(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.home / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "prefect", *arguments],
                env=self.environment, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self.children.append(child)
        return child

    def start(self) -> None:
        lay_database(self.home / "prefect")
        self.spawn("server", "server", "start", "--port", str(self.port))
        self.wait(lambda: self.get("/health").status_code == 200)

    def stop(self) -> None:
        for child in reversed(self.children):
            child.terminate()
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()

    def wait(self, ready: Any, seconds: float = START_SECONDS) -> Any:
        ends = time.monotonic() + seconds
        while True:
            with suppress(httpx.TransportError):
                if answer := ready():
                    return answer
            if time.monotonic() > ends:
                pytest.fail(f"it did not become so within {seconds} s:\n{self.log}", pytrace=False)
            time.sleep(0.2)

    def ask(
        self, method: str, path: str, body: Any = None, *, login: str = LOGIN, token: str = ""
    ) -> httpx.Response:
        """One request, with nothing but what is said here; repeated while the server is busy."""
        user, _, password = login.partition(":")
        request = httpx.Request(
            method,
            self.environment["PREFECT_API_URL"] + path,
            json=body,
            headers={"Prefect-Csrf-Client": "tests", "Prefect-Csrf-Token": token} if token else {},
        )
        with httpx.Client(auth=(user, password) if login else None, timeout=60) as client:
            for _ in range(30):
                answer = client.send(request)
                if answer.status_code != 503:
                    break
                time.sleep(1)
        return answer

    def get(self, path: str, login: str = LOGIN) -> httpx.Response:
        return self.ask("GET", path, login=login)

    def post(self, path: str, body: Any, login: str = LOGIN, token: str = "") -> httpx.Response:
        return self.ask("POST", path, body, login=login, token=token)

    def token(self) -> str:
        return str(self.get("/csrf-token?client=tests").json()["token"])

    def filter(self, what: str, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        answer = self.post(f"/{what}/filter", body, token=self.token())
        assert answer.status_code == 200, answer.text
        found = answer.json()
        return list(found["events"] if what == "events" else found)

    def announce(self, what: str, name: str) -> None:
        """An event as our flows tell it, about a share, server or platform of this name."""
        event = {
            "id": str(uuid.uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": f"packmaster.{what}",
            "resource": {
                "prefect.resource.id": f"packmaster.{what.partition('.')[0]}.{name}",
                "prefect.resource.name": name,
            },
            "payload": {},
        }
        assert self.post("/events", [event], token=self.token()).status_code == 204

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command as an operator of this server types it."""
        done = subprocess.run(
            command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
        assert not check or done.returncode == 0, f"{command}:\n{done.stdout}{done.stderr}\n{self.log}"
        return done

    def packmaster(self, *arguments: str, check: bool = True) -> str:
        done = self.run(sys.executable, "-m", "deployments.cli", *arguments, check=check)
        return done.stdout + done.stderr

    def example(self, name: str, *arguments: str, check: bool = True) -> str:
        """Run one of the examples; what it printed."""
        command = [sys.executable] if name.endswith(".py") else ["bash"]
        done = self.run(*command, str(EXAMPLES / name), *arguments, check=check)
        assert check or done.returncode == 1, done
        return done.stdout + done.stderr

    def deployment(self, name: str) -> str:
        return str(self.get(f"/deployments/name/{name}/{name}").json()["id"])

    def begin(self, flow: str, parameters: Mapping[str, Any], queue: str = "default") -> str:
        """Create a run, to be taken by the worker of a queue; its id."""
        body = {"parameters": dict(parameters), "work_queue_name": queue}
        path = f"/deployments/{self.deployment(flow)}/create_flow_run"
        answer = self.post(path, body, token=self.token())
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def finish(self, run: str, seconds: float = 300) -> dict[str, Any]:
        """The run, when it has ended."""

        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = self.get(f"/flow_runs/{run}").json()
            return (
                found if found["state"]["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None
            )

        finished: dict[str, Any] = self.wait(ended, seconds)
        return finished

    def get_secrets(self, kind: str) -> list[dict[str, Any]]:
        """The fields of every block of a type, as the server gives them to whoever asks for secrets."""
        answer = self.get(f"/block_types/slug/{kind}/block_documents?include_secrets=true")
        assert answer.status_code == 200, answer.text
        return [block["data"] for block in answer.json()]

    def rows(self, key: str) -> list[dict[str, str]]:
        """The rows of the latest table of a key."""
        answer = self.get(f"/artifacts/{key}/latest")
        assert answer.status_code == 200, f"no artifact {key}"
        return list(json.loads(answer.json()["data"]))
