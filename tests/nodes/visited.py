"""A site on two nodes, with each kind of database server in turn, and visitors who ask for it all along."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from blocks import Cluster, DatabaseServer, Site
from flows.add_site import add_site
from flows.create_platform import create_platform
from flows.remove_platform import remove_platform
from flows.remove_site import remove_site
from tasks.fleet import Database
from tasks.grants import user_name
from tests.nodes.databases import least_privileged
from tests.nodes.fleet import Fleet, saved, succeed
from tests.nodes.prepared import prepared

NODES = ("web1", "web3")
PAGE = """<?php
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
try {
    $db = new mysqli($_SERVER['DB_HOST'], $_SERVER['DB_USER'], $_SERVER['DB_PASSWORD'], $_SERVER['DB_NAME']);
    echo $db->query('SELECT 6 * 7')->fetch_row()[0];
} catch (mysqli_sql_exception $refused) { http_response_code(500); echo $refused->getMessage(); }
"""


@dataclass
class Visited:
    """A site on two nodes, and its database server."""

    fleet: Fleet
    uri: str
    platform: str
    server: Database
    failures: list[str] = field(default_factory=list)
    visits: int = 0

    @property
    def site(self) -> Site:
        return self.fleet.site(self.uri)

    @property
    def account(self) -> str:
        """The account of web1, as SQL."""
        return f"`{user_name(self.uri)}`@`{self.fleet.node('web1').address}`"

    def matrix(self, scope: str) -> dict[str, str]:
        """What the matrix says of the site, by node."""
        rows = self.fleet.table(f"matrix-grants-of-{scope}")
        (row,) = (row for row in rows if row["site"] == self.uri)
        return row

    @contextmanager
    def visitors(self, pause: float = 0.01) -> Iterator[None]:
        """Somebody asks each node for the site all the time; none may ever be answered wrongly."""
        ended = threading.Event()
        threads = [threading.Thread(target=self._visit, args=(name, ended, pause)) for name in NODES]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join(30)
        assert self.visits > 20
        assert not self.failures, self.failures

    def _visit(self, name: str, ended: threading.Event, pause: float) -> None:
        while not ended.is_set():
            answer = self.fleet.get(name, self.uri)
            self.visits += 1
            if (answer.status, answer.body) != (200, "42"):
                self.failures.append(f"{name}: {answer.status} {answer.body[:200]}")
            ended.wait(pause)


@pytest.fixture(scope="module")
def visited(
    fleet: Fleet, bed: Any, database_server: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Visited]:
    prepared(bed, *NODES)
    name, source = f"access-{database_server.name}", tmp_path_factory.mktemp("source")
    (source / "index.php").write_text(PAGE)
    cluster = saved(Cluster(servers=list(NODES)), "access-web")
    account = least_privileged(database_server, bed.controller)
    server = DatabaseServer(
        host=account.host, admin_user=account.admin_user, admin_password=account.admin_password
    )
    there = Visited(fleet, f"{database_server.name}.access.test", name, database_server)
    succeed(create_platform, platform=name, target=cluster, source=str(source))
    succeed(add_site, uri=there.uri, platform=fleet.platform(name), database=saved(server, name))
    yield there
    succeed(remove_site, site=there.site)
    succeed(remove_platform, platform=fleet.platform(name))
