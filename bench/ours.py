"""Our own distribution, bare and inside the flow, each in a process of its own as a worker's runs are."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.bed import HOME, ROOT, Bed
from bench.contender import RUN_SECONDS, Failed, Usage
from bench.server import Server
from tasks.fleet import PLATFORMS

PREPARE_SECONDS = 180


class Child:
    """A running `python -m bench.worker`: one JSON line in, one JSON line out."""

    def __init__(self, what: str, settings: Mapping[str, Any], environment: Mapping[str, str]) -> None:
        self.log = HOME / f"{what}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.worker", what, json.dumps(settings)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def ask(self, word: str, seconds: float) -> dict[str, Any]:
        """Its answer; raises Failed when there is none within `seconds`, or when it is an error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(word.encode() + b"\n")
        self._process.stdin.flush()
        ends, line = time.monotonic() + seconds, b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                ready = selector.select(timeout=max(0.0, ends - time.monotonic()))
                data = os.read(self._process.stdout.fileno(), 65536) if ready else b""
                if not data:
                    raise Failed(f"no answer to {word!r}; see {self.log}")
                line += data
        answer: dict[str, Any] = json.loads(line)
        if error := answer.get("error"):
            raise Failed(f"{error}; see {self.log}")
        return answer

    def close(self) -> None:
        """End the process."""
        with suppress(OSError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()


class Engine:
    """The functions of tasks.code, called with a pool of threads as the flow would."""

    name = "engine"
    label = "Packmaster, bare engine"

    def __init__(self, bed: Bed, source: Path) -> None:
        self.bed = bed
        self.source = source
        self.platform = f"bench-{self.name}"
        self.destination = f"{PLATFORMS}/{self.platform}/current"
        self.home = HOME / f"controller-{self.name}"
        self._child: Child | None = None

    def prepare(self) -> None:
        self._child = Child(self.name, self._settings(), self._environment())
        self._child.ask("prepare", PREPARE_SECONDS)

    def reset(self) -> None:
        self.bed.remove(f"{PLATFORMS}/{self.platform}")
        shutil.rmtree(self.home, ignore_errors=True)

    def run(self) -> Usage:
        if self._child is None:
            raise Failed(f"{self.name} was not prepared")
        answer = self._child.ask("run", RUN_SECONDS)
        return Usage(answer["seconds"], answer["cpu"], answer["parts"])

    def settle(self) -> None:
        """Each node has made its spare copy of the current release."""
        self.bed.wait_for_spare(f"{PLATFORMS}/{self.platform}")

    def close(self) -> None:
        if self._child is not None:
            self._child.close()

    def _settings(self) -> dict[str, Any]:
        return {"nodes": len(self.bed.nodes), "source": str(self.source), "platform": self.platform}

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PACKMASTER_HOME": str(self.home)}


class Flow(Engine):
    """The flow create-platform against a real Prefect server; the server's CPU time is part of its own."""

    name = "flow"
    label = "Packmaster, in the flow"

    def __init__(self, bed: Bed, source: Path) -> None:
        super().__init__(bed, source)
        self.server = Server()

    def prepare(self) -> None:
        self.server.start()
        super().prepare()

    def run(self) -> Usage:
        before = self.server.cpu_seconds()
        usage = super().run()
        return Usage(usage.seconds, usage.cpu + self.server.cpu_seconds() - before, usage.parts)

    def close(self) -> None:
        super().close()
        self.server.stop()

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), **self.server.environment(), "PACKMASTER_HOME": str(self.home)}
