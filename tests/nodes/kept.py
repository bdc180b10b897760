"""Everything that a Prefect server keeps and says, and where in it a text is, however it is written there."""

from __future__ import annotations

import base64
import html
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from tests.nodes.service import Service

PAGE = 200
# What the API lists. Blocks are asked for as everybody gets them: without include_secrets.
LISTS = (
    "flows",
    "flow_runs",
    "task_runs",
    "logs",
    "artifacts",
    "artifacts/latest",
    "deployments",
    "automations",
    "block_types",
    "block_schemas",
    "block_documents",
    "variables",
    "work_pools",
    "v2/concurrency_limits",
)


def spell(text: str) -> dict[str, bytes]:
    """A text in every way in which it may have been written down, by the name of the way."""
    raw = text.encode()
    ways = {
        "plain": raw,
        "JSON": json.dumps(text)[1:-1].encode(),
        "HTML": html.escape(text).encode(),
        "URL": quote(text, safe="").encode(),
        "URL with +": quote_plus(text).encode(),
        "hexadecimal": raw.hex().encode(),
    }
    for shift in range(3):
        core = spell_in_base64(raw, shift)
        ways[f"base64+{shift}"] = core
        ways[f"base64url+{shift}"] = core.replace(b"+", b"-").replace(b"/", b"_")
    return ways


def spell_in_base64(raw: bytes, shift: int) -> bytes:
    """What of base64 depends on `raw` alone, where `shift` bytes (mod 3) of something else come before it."""
    encoded = base64.b64encode(bytes(shift) + raw)
    last = {0: 0, 1: 3, 2: 2}[(shift + len(raw)) % 3]
    return encoded[(0, 2, 3)[shift] : len(encoded) - last]


def find(text: str, places: dict[str, bytes]) -> set[tuple[str, str]]:
    """Where the text is, and how it is written there."""
    return {
        (place, way) for way, spelt in spell(text).items() for place, kept in places.items() if spelt in kept
    }


def read_kept(service: Service) -> dict[str, bytes]:
    """Every file below the server's home, every value of its database, every list of its API, every log."""
    home = service.home / "prefect"
    files = {str(path.relative_to(service.home)): path.read_bytes() for path in _files(home)}
    logs = {path.name: path.read_bytes() for path in service.home.glob("*.log")}
    values = {f"table {name}": b"\0".join(found) for name, found in read_tables(home / "prefect.db")}
    lists = {f"/{what}": "\n".join(read_list(service, what)).encode() for what in LISTS}
    return files | logs | values | lists | {"/events": "\n".join(read_events(service)).encode()}


def _files(home: Path) -> Iterator[Path]:
    yield from (path for path in sorted(home.rglob("*")) if path.is_file())


def read_tables(database: Path) -> Iterator[tuple[str, list[bytes]]]:
    """Every value of every table: in the file, a long one may be cut in pieces."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (name,) in names:
            rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
            yield name, [v if isinstance(v, bytes) else str(v).encode() for row in rows for v in row]


def read_list(service: Service, what: str) -> Iterator[str]:
    """Every page of a list, as it was sent."""
    offset, token = 0, service.token()
    while True:
        answer = service.post(f"/{what}/filter", {"offset": offset, "limit": PAGE}, token=token)
        assert answer.status_code == 200, f"{what}: {answer.text}"
        yield answer.text
        found: list[Any] = answer.json()
        offset += len(found)
        if len(found) < PAGE:
            return


def read_events(service: Service) -> Iterator[str]:
    """Every event that was recorded, as it was sent."""
    answer = service.post("/events/filter", {"limit": 50}, token=service.token())
    while True:
        assert answer.status_code == 200, answer.text
        yield answer.text
        following = answer.json()["next_page"]
        if not following:
            return
        answer = service.get(following.partition("/api")[2])
