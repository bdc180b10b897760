"""A Prefect server for the tests that need one, and nothing of the developer's own Prefect in any of them.

Starting the server takes 6 to 15 seconds, so it is started once, only when a collected test asks for it, and
while the tests that do not need it are running: those come first, or run in another process.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings

from deployments.certificates import certificates_for
from tests.prefect_database import lay_database

# Half of Hypothesis's own number, for there are many properties; a slow machine is no failure.
settings.register_profile("packmaster", max_examples=50, deadline=None)
settings.load_profile("packmaster")

START_SECONDS = 120
NODES = Path(__file__).resolve().parent / "nodes"
# In one of several processes, which does not know yet which tests it is going to get.
IN_PARALLEL = "PYTEST_XDIST_WORKER" in os.environ
HOME = tempfile.TemporaryDirectory(prefix="packmaster-prefect-")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


PORT = free_port()
API_URL = f"http://127.0.0.1:{PORT}/api"

# Set before anything imports Prefect: a profile or variable of the developer's could point to a real server.
for variable in [name for name in os.environ if name.startswith("PREFECT_")]:
    del os.environ[variable]
os.environ["PREFECT_HOME"] = HOME.name
os.environ["PREFECT_API_URL"] = API_URL
os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"
# The tests' server gives no CSRF tokens; each client would ask for one first.
os.environ["PREFECT_CLIENT_CSRF_SUPPORT_ENABLED"] = "false"
os.environ |= certificates_for(API_URL, Path(HOME.name))

SERVER_SETTINGS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    # No test waits for a schedule. What records task runs, events and expired leases stays on.
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
}


class Server:
    """One `prefect server start` for the whole session."""

    process: subprocess.Popen[bytes] | None = None
    log = Path(HOME.name) / "server.log"

    def start(self) -> None:
        lay_database(Path(HOME.name))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "prefect", "server", "start", "--port", str(PORT)],
                env={**os.environ, **SERVER_SETTINGS},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self) -> None:
        """Return once it answers; fail the test with the server's own words when it does not."""
        ends = time.monotonic() + START_SECONDS
        while time.monotonic() < ends and self.process is not None and self.process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{API_URL}/health", timeout=5):
                return
            time.sleep(0.1)
        pytest.fail(f"no Prefect server at {API_URL}:\n{self.log.read_text()[-3000:]}", pytrace=False)

    def stop(self) -> None:
        if self.process is None:
            return
        for kind in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, kind)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=10)
                return


SERVER = Server()


def needs_server(item: pytest.Item) -> bool:
    return "prefect_server" in getattr(item, "fixturenames", ())


def needs_nodes(item: pytest.Item) -> bool:
    return item.get_closest_marker("nodes") is not None


def pytest_itemcollected(item: pytest.Item) -> None:
    """One process takes all tests that need a server and no nodes: a second one costs more than it saves."""
    if needs_server(item) and NODES not in item.path.parents:
        item.add_marker(pytest.mark.server)
        item.add_marker(pytest.mark.xdist_group("server"))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The quickest first; in several processes what one of them does alone; within a file as written."""

    def order(item: pytest.Item) -> tuple[bool, bool]:
        nodes = needs_nodes(item)
        return nodes, needs_server(item) != (IN_PARALLEL and not nodes)

    items.sort(key=order)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the server for whoever is going to ask for it, without waiting for it yet."""
    wanted = not session.config.option.collectonly and any(map(needs_server, session.items))
    if wanted and not IN_PARALLEL:
        SERVER.start()


def pytest_sessionfinish() -> None:
    SERVER.stop()


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[str]:
    """A real Prefect server, empty at first and shared by the whole session; gives its API's URL.

    Ask for it in every test that saves a block, runs a flow or a task, or takes a lock; the client's
    settings (this process and its children) point to it already. Since the server is shared, use names that
    no other test uses, and look only for what the test itself made. Flow and task loggers work. What they
    say and what task runs become reaches the server's database with a delay: assert on returned values, or
    poll with a bound.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    if IN_PARALLEL:
        SERVER.start()
    SERVER.wait()
    # With heartbeats every flow run ends in a thread join of a second (Prefect's own tests do the same).
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield API_URL
    drain_clients()


def drain_clients() -> None:
    """Let Prefect's background threads send what they hold while there is still a server to take it."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler

    APILogHandler().flush()
    EventsWorker.drain_all(timeout=5)
