"""Platforms' sources, of which a test decides when they are delivered."""

from __future__ import annotations

import hashlib
import http.server
import io
import tarfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Sources:
    """Archives by HTTP. None is delivered before the test says so, and each fetch is counted."""

    fetched: Counter[str] = field(default_factory=Counter)
    released: dict[str, threading.Event] = field(default_factory=dict)
    url: str = ""

    def offer(self, name: str, *, held: bool) -> dict[str, str]:
        """The parameters of create-platform for a new source."""
        self.released[name] = threading.Event()
        if not held:
            self.release(name)
        digest = hashlib.sha256(self.archive(name)).hexdigest()
        return {"source": f"{self.url}/{name}.tar", "checksum": digest}

    def release(self, name: str) -> None:
        self.released[name].set()

    def release_all(self) -> None:
        for name in self.released:
            self.release(name)

    def archive(self, name: str) -> bytes:
        content = f"<?php echo 'served by {name}';".encode()
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            entry = tarfile.TarInfo("index.php")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        return stream.getvalue()

    @contextmanager
    def served(self, address: str) -> Iterator[Sources]:
        sources = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.strip("/").removesuffix(".tar")
                content = sources.archive(name)
                sources.fetched[name] += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                sent = 0
                # Byte for byte, for a server that says nothing is given up after half a minute.
                while not sources.released[name].wait(5):
                    self.wfile.write(content[sent : sent + 1])
                    self.wfile.flush()
                    sent += 1
                self.wfile.write(content[sent:])

            def log_message(self, *_: object) -> None: ...

        server = http.server.ThreadingHTTPServer((address, 0), Handler)
        server.daemon_threads = True
        self.url = f"http://{address}:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self.release_all()
            server.shutdown()
