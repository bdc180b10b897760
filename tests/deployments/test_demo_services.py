"""What the demo started ends with it, and what somebody else started is left alone."""

from __future__ import annotations

import http.server
import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prefect.settings import Settings

from deployments.demo_services import SERVER_SETTINGS, Services, find_children, stop_group
from flows.locks import LEASE_SECONDS
from tasks.errors import PackmasterError

ROOT = Path(__file__).resolve().parents[2]


def test_a_worker_is_stopped_with_the_runs_it_is_at() -> None:
    """Each of them is a session of its own, which a signal to the worker's group does not reach."""
    worker = subprocess.Popen(["sh", "-c", "setsid sleep 60 & sleep 60"], start_new_session=True)
    ends = time.monotonic() + 10
    while len(children := find_children(worker.pid)) < 2 and time.monotonic() < ends:
        time.sleep(0.05)
    assert len(children) == 2
    for group in (worker.pid, *children):
        stop_group(group)
    assert worker.wait(timeout=5) == -signal.SIGTERM
    assert find_children(worker.pid) == []
    for child in children:
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(child)], capture_output=True, text=True, check=False
        )
        # One that has ended may wait for a PID 1 that does not care for it.
        assert state.stdout[:1] in {"", "Z"}


def test_the_servers_settings_are_ones_that_prefect_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ignores what it does not know."""
    for name, value in SERVER_SETTINGS.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert set(SERVER_SETTINGS) <= set(settings.to_environment_variables(exclude_unset=True))
    assert settings.server.services.db_vacuum.enabled_vacuum_types == {"events", "flow_runs", "orphans"}
    assert importlib.import_module(settings.server.concurrency.lease_storage).ConcurrencyLeaseStorage


class Healthy(http.server.BaseHTTPRequestHandler):
    """As much of a Prefect server as is asked whether one is there."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/api/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def port() -> Iterator[int]:
    """The port at which somebody answers as a Prefect server."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_somebody_elses_server_is_not_taken_for_the_demos(port: int, tmp_path: Path) -> None:
    """Whoever has web servers of the demo's names registered there would lose them."""
    services = Services(tmp_path, port)
    with pytest.raises(
        PackmasterError, match=f"did not start answers.*PACKMASTER_UI_PORT={port + 1} make demo"
    ):
        services.start()
    assert not list(tmp_path.iterdir())
    wait = [sys.executable, "-c", "input()", "prefect", "server", "start", "--port"]
    for other, ours in ((port, True), (port + 1, False)):
        process = subprocess.Popen([*wait, str(other)], stdin=subprocess.PIPE)
        (tmp_path / "server.pid").write_text(str(process.pid))
        try:
            if ours:
                assert services.finds_own_server()
            else:
                with pytest.raises(PackmasterError, match="did not start"):
                    services.finds_own_server()
        finally:
            process.kill()
            process.wait()
    # One that has ended, whoever has its number now.
    with pytest.raises(PackmasterError, match="did not start"):
        services.finds_own_server()


HOLDER = """
import time
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from flows.locks import LEASE_SECONDS

with get_client(sync_client=True) as client:
    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="a-lock", limit=1))
with concurrency("a-lock", occupy=1, lease_duration=LEASE_SECONDS, strict=True):
    print("held", flush=True)
    time.sleep(600)
"""


# Prefect takes no lease of less than a minute, which is all that the unit tests have.
@pytest.mark.nodes
def test_a_lock_does_not_outlive_its_holder_when_the_server_was_killed(tmp_path: Path) -> None:
    services = Services(tmp_path, find_port())
    services.start_server()
    try:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER],
            env=services.environment(),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout is not None
        assert any("held" in line for line in iter(holder.stdout.readline, ""))
        os.killpg(int((tmp_path / "server.pid").read_text()), signal.SIGKILL)
        holder.kill()
        holder.wait()
        services.start_server()
        assert read_slots(services) == 1
        ends = time.monotonic() + 2 * LEASE_SECONDS
        while read_slots(services) and time.monotonic() < ends:
            time.sleep(1)
        assert read_slots(services) == 0
    finally:
        services.stop()


def read_slots(services: Services) -> int:
    found = httpx.get(f"{services.api_url}/v2/concurrency_limits/a-lock", timeout=30).json()
    return int(found["active_slots"])


def find_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
