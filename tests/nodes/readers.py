"""Somebody asks each node for a page, again and again, as visitors do: when it was served, and when not."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise

# A page costs a machine of the bed a fifth of a second of the two cores that all of them share.
PAUSE_SECONDS = 1.5
# A visitor's patience: a page that hangs is one that is not served.
ANSWER_SECONDS = 5.0


@dataclass
class Readers:
    """Each node's page is asked for from `start` to `stop`, one request at a time and node."""

    addresses: Mapping[str, str]
    uri: str
    wanted: str
    """What the page says when it is served."""
    served: dict[str, list[float]] = field(default_factory=dict)
    """When each good answer was there, in seconds since the epoch."""
    began: float = 0.0
    _ended: threading.Event = field(default_factory=threading.Event)
    """Of the threads that were started last: one that outlived its `stop` keeps its own, and ends by it."""
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, *names: str) -> None:
        self._ended = threading.Event()
        self.began = time.time()
        self.served = {name: [] for name in names}
        self._threads = [
            threading.Thread(target=self._read, args=(name, self.served[name], self._ended), daemon=True)
            for name in names
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(2 * ANSWER_SECONDS)
        self._threads.clear()

    def longest_outage(self, name: str) -> float:
        """How many seconds a visitor of a node waited at most for a page, from `start` until now."""
        moments = [self.began, *self.served[name], time.time()]
        return max(later - earlier for earlier, later in pairwise(moments))

    def ask(self, name: str, path: str = "/") -> str:
        """The page that a node serves; empty when it says that it cannot. Raises OSError, HTTPException."""
        connection = http.client.HTTPConnection(self.addresses[name], 80, timeout=ANSWER_SECONDS)
        try:
            connection.request("GET", path, headers={"Host": self.uri})
            response = connection.getresponse()
            return response.read().decode("utf-8", "replace") if response.status == 200 else ""
        finally:
            connection.close()

    def _read(self, name: str, served: list[float], ended: threading.Event) -> None:
        while not ended.is_set():
            with suppress(OSError, http.client.HTTPException):
                if self.ask(name) == self.wanted:
                    served.append(time.time())
            ended.wait(PAUSE_SECONDS)
