"""Somebody looks at both servers of a share, again and again, for a moment at which both could be used."""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

from tests.nodes.guests import Guests
from tests.nodes.machines import PackBed

PAUSE_SECONDS = 2.0
ANSWER_SECONDS = 8.0
EXPORTS = "grep -qvx 0 /proc/fs/nfsd/threads && grep -q '^{}/' /var/lib/nfs/etab"


@dataclass
class Witness:
    """From `start` to `stop`; over connections of its own, so that it ends nobody else's."""

    bed: PackBed
    servers: tuple[str, str]
    disk: str
    looks: int = 0
    both: list[float] = field(default_factory=list)
    """When both exported, in seconds since the epoch."""
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        # Of a test that failed.
        self._ended.set()
        self.looks, self.both = 0, []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(self._ended,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Fails the test when both were seen to export, or nobody looked."""
        if self._thread is None:
            return
        self._ended.set()
        self._thread.join(4 * ANSWER_SECONDS)
        self._thread = None
        assert self.looks, "the servers were not looked at while they were written to"
        assert not self.both, f"two servers could be written to at {self.both}"

    def _watch(self, ended: threading.Event) -> None:
        shell = Guests(self.bed.addresses, self.bed.private_key, self.bed.known_hosts)
        one, other = self.servers
        while not ended.is_set():
            # The first one twice: between two looks the share may have moved.
            if all(self._exports(shell, name) for name in (one, other, one)):
                self.both.append(time.time())
            self.looks += 1
            ended.wait(PAUSE_SECONDS)
        shell.close(*self.servers)

    def _exports(self, shell: Guests, name: str) -> bool:
        with suppress(subprocess.TimeoutExpired):
            return shell.run(name, EXPORTS.format(self.disk), "", ANSWER_SECONDS).returncode == 0
        return False
