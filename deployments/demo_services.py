"""The demo's Prefect server and worker as child processes, and its API as another system sees it."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from blocks import site_block_name
from deployments.api import Api
from deployments.certificates import certificates_for
from deployments.demo_site import say
from tasks.errors import PackmasterError

POOL = "packmaster"
START_SECONDS = 180
SERVER_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # The demo's server gives no CSRF tokens; each client would ask for one first.
    "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
    # Kept in memory, the locks that runs hold would stay taken for ever after a restart.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # check-share runs each minute: runs that ended two weeks ago go, with their logs and tables.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "1209600",
    # The recorder's defaults of 1 make the UI lag a minute behind a few thousand task runs.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TRIGGERS_READ_BATCH_SIZE": "100",
}


class Services:
    """A Prefect server with its UI, and one process worker, kept in the demo's state directory."""

    def __init__(self, state: Path, port: int) -> None:
        self.state = state
        self.port = port
        self.ui = f"http://127.0.0.1:{port}"
        self.api_url = f"{self.ui}/api"

    def start(self) -> None:
        """Start server and worker where they are not running; both answer afterwards."""
        self.start_server()
        say("registering block types, work pool and deployments (packmaster bootstrap)")
        self.run_command("bootstrap", "--pool", POOL)
        if self._pid("worker") is None:
            say(f"starting a worker (log: {self.state}/worker.log)")
            self._spawn("worker", "prefect", "worker", "start", "--pool", POOL, "--name", "demo")

    def start_server(self) -> None:
        """Start the server where it is not running; it answers afterwards.

        Raises PackmasterError when somebody else's server answers there: the demo's blocks would replace its.
        """
        self.state.mkdir(parents=True, exist_ok=True)
        if self.finds_own_server():
            say(f"the demo's Prefect server answers at {self.ui}")
        else:
            say(f"starting the Prefect server, its UI at {self.ui} (log: {self.state}/server.log)")
            self._spawn("server", "prefect", "server", "start", "--port", str(self.port))
            self._wait("the Prefect server", self._answers)

    def stop(self) -> None:
        """Stop the worker, with the runs it is at, and the server that `start` started."""
        for name in ("worker", "server"):
            pid = self._pid(name)
            if pid is not None:
                say(f"stopping the demo's Prefect {name}")
                runs = find_children(pid)
                for group in (pid, *runs):
                    stop_group(group)
            self._pid_file(name).unlink(missing_ok=True)

    def run_command(self, *arguments: str) -> None:
        """Run the packmaster command against the demo's server; raises PackmasterError when it fails."""
        command = [sys.executable, "-m", "deployments.cli", *arguments]
        done = subprocess.run(command, env=self.environment(), check=False, timeout=START_SECONDS * 2)
        if done.returncode != 0:
            raise PackmasterError(f"`packmaster {' '.join(arguments)}` failed; its message is above")

    def register(self, inventory: Path) -> None:
        """What the file describes is registered, and has its locks."""
        say(f"registering what {inventory.name} describes (packmaster inventory apply, then bootstrap again)")
        self.run_command("inventory", "apply", str(inventory))
        self.run_command("bootstrap", "--pool", POOL)

    def api(self) -> Api:
        """The server's API, as another system speaks to it."""
        return Api(httpx.Client(base_url=self.api_url, timeout=60), self.ui, say)

    def admin_password(self, site: str) -> str:
        """The site's administrator's password, as add-site stored it (asked for with its secrets)."""
        path = f"/block_types/slug/packmaster-site/block_documents/name/{site_block_name(site)}"
        answer = httpx.get(self.api_url + path, params={"include_secrets": "true"}, timeout=60)
        answer.raise_for_status()
        return str(answer.json()["data"]["admin_password"])

    def environment(self) -> dict[str, str]:
        """What the server, the worker and the packmaster command are started with."""
        key_file = self.state / "encryption_key"
        if not key_file.exists():
            with _private(key_file) as stream:
                stream.write(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
        mine = {
            "PREFECT_HOME": str(self.state / "prefect"),
            "PREFECT_API_URL": self.api_url,
            # Without it the key that encrypts the blocks' secrets lies in the same database as they do.
            "PREFECT_SERVER_ENCRYPTION_KEY": key_file.read_text(encoding="ascii"),
            "PREFECT_WORKER_QUERY_SECONDS": "2",
            "PACKMASTER_HOME": str(self.state / "controller"),
        }
        certificates = certificates_for(self.api_url, self.state / "prefect")
        return {**os.environ, **SERVER_SETTINGS, **certificates, **mine}

    def finds_own_server(self) -> bool:
        """Whether the server that the demo started answers; raises PackmasterError when it is another one."""
        if not self._answers():
            return False
        pid = self._pid("server")
        if pid is None or str(self.port) not in _read_command(pid):
            raise PackmasterError(
                f"a Prefect server that this demo did not start answers at {self.ui}. "
                f"Stop it, or choose another port: PACKMASTER_UI_PORT={self.port + 1} make demo"
            )
        return True

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.api_url}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def _spawn(self, name: str, module: str, *arguments: str) -> None:
        with (self.state / f"{name}.log").open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # it outlives this command, and is stopped as a group
            )
        self._pid_file(name).write_text(str(child.pid), encoding="ascii")

    def _wait(self, what: str, ready: Any) -> None:
        ends = time.monotonic() + START_SECONDS
        while not ready():
            if time.monotonic() > ends:
                raise PackmasterError(
                    f"{what} gave no answer in {START_SECONDS} s; see {self.state}/server.log"
                )
            time.sleep(0.5)

    def _pid_file(self, name: str) -> Path:
        return self.state / f"{name}.pid"

    def _pid(self, name: str) -> int | None:
        """The process id of our child when it is still that process, and not another that got its number."""
        try:
            pid = int(self._pid_file(name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None
        return pid if {"prefect", name} <= set(_read_command(pid)) else None


@contextmanager
def _private(path: Path) -> Iterator[Any]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        yield stream


def find_children(pid: int) -> list[int]:
    """What a process started and is not over. A worker gives each flow run a session of its own, which would
    go on for minutes without a server to tell anything to.
    """
    numbers = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
    return [number for number in numbers if _read_stat(number)[1:] == [str(pid)]]


def stop_group(pid: int) -> None:
    """End a process group, politely first; returns when its first process is gone."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(pid, kind)
        except ProcessLookupError:
            return
        for _ in range(100):
            if _read_stat(pid)[:1] in ([], ["Z"]):
                return
            time.sleep(0.1)


def _read_command(pid: int) -> list[str]:
    """A process's command line, word by word; nothing when there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []


def _read_stat(pid: int) -> list[str]:
    """A process's state and its parent; nothing when there is none. Before them stands the command's name,
    which may hold anything: proc(5).
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return []
