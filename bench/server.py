"""A Prefect server of the benchmark's own, with the settings of the demo's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx

from bench.bed import HOME
from bench.contender import Failed
from deployments.certificates import certificates_for
from deployments.demo_services import SERVER_SETTINGS

START_SECONDS = 180
STOP_SECONDS = 20
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGESIZE")


class Server:
    """`start` makes it answer at `api_url`; `stop` ends it and whatever it started."""

    def __init__(self) -> None:
        self.api_url = f"http://127.0.0.1:{_free_port()}/api"
        self._child: subprocess.Popen[bytes] | None = None

    def environment(self) -> dict[str, str]:
        """What makes a process speak to this server and to no other, as a worker's runs do."""
        mine = {"PREFECT_HOME": str(HOME / "prefect"), "PREFECT_API_URL": self.api_url}
        certificates = certificates_for(self.api_url, HOME / "prefect")
        return {**os.environ, **SERVER_SETTINGS, **certificates, **mine}

    def start(self) -> None:
        """Start it on an empty database; raises Failed when it does not answer."""
        (HOME / "prefect").mkdir(parents=True, exist_ok=True)
        for file in (HOME / "prefect").glob("prefect.db*"):
            file.unlink()
        port = self.api_url.rpartition(":")[2].partition("/")[0]
        with (HOME / "server.log").open("wb") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "prefect", "server", "start", "--port", port],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        ends = time.monotonic() + START_SECONDS
        while not self._answers():
            if time.monotonic() > ends or self._child.poll() is not None:
                raise Failed(f"the Prefect server does not answer; see {HOME / 'server.log'}")
            time.sleep(0.5)

    def stop(self) -> None:
        if self._child is None:
            return
        for kind in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, kind)
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout=STOP_SECONDS)
                return

    def cpu_seconds(self) -> float:
        """CPU time of the server's processes so far."""
        if self._child is None:
            return 0.0
        return sum(_cpu_of(Path(folder), self._child.pid) for folder in Path("/proc").glob("[0-9]*"))

    def memory_mb(self) -> float:
        """What the server's processes have in memory now."""
        if self._child is None:
            return 0.0
        return sum(_memory_of(Path(folder), self._child.pid) for folder in Path("/proc").glob("[0-9]*")) / 1e6

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.api_url}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


def _cpu_of(process: Path, group: int) -> float:
    """CPU seconds of a process and its ended children if it is of that group."""
    return sum(map(int, _stat_of(process, group)[11:15])) / TICKS


def _memory_of(process: Path, group: int) -> int:
    """Bytes of a process that are in memory if it is of that group."""
    return sum(map(int, _stat_of(process, group)[21:22])) * PAGE


def _stat_of(process: Path, group: int) -> list[str]:
    """What proc(5) calls stat, from the state on, if the process is of that group; else nothing."""
    try:
        fields = (process / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []
    return fields if int(fields[2]) == group else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
