"""Nodes and databases that reach each other over IPv6: found, let in at one spelling, and let go again.

Visitors of nginx, too, may come over IPv6. Apache listens there without being told to, but not in the bed:
its containers have IPv6 switched off when it starts, and it looks at that once.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pymysql
import pytest

from tasks.fleet import Database, Node
from tasks.grants.connection import log_in_from
from tasks.grants.discover import discover_client_addresses
from tasks.grants.values import SiteAccess
from tasks.grants.verify import verify_login
from tasks.sites.plan import Credentials, Site
from tasks.sites.vhost import environment_for
from tasks.ssh import connect
from tests.nodes.databases import least_privileged
from tests.nodes.fleet import wait_until
from tests.nodes.grant_tools import access_named, converge, forget, kinds, plain_facts, polling_from
from tests.nodes.machines import greets
from tests.nodes.prepared import node_of
from tests.nodes.vhosts import SITE, Server, prepared
from tests.nodes.vhosts import server as web_server

if TYPE_CHECKING:
    from tests.nodes.conftest import Bed, DockerExec
    from tests.nodes.databases import RootSql

__all__ = ["prepared", "web_server"]

NAME = "site_six"
CONNECTION_LOST = {2006, 2013, 1927}
LOG_IN = "mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT); $e = $_SERVER; " + " ".join(
    f"echo {client}->query('SELECT CURRENT_USER()'){first};"
    for client, first in (
        ("(new mysqli($e['DB_HOST'], $e['DB_USER'], $e['DB_PASSWORD'], $e['DB_NAME'], (int) $e['DB_PORT']))",
         "->fetch_row()[0], ' '"),
        ("(new PDO(\"mysql:host={$e['DB_HOST']};port={$e['DB_PORT']};dbname={$e['DB_NAME']}\","
         " $e['DB_USER'], $e['DB_PASSWORD']))", "->fetchColumn()"),
    )
)  # fmt: skip


@dataclass(frozen=True)
class Six:
    """The network that all are in besides the bed's own; its addresses by node and database."""

    name: str
    addresses: dict[str, str]
    controller: str


def docker(*argv: str) -> None:
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def six(bed: Bed, database_servers: tuple[Database, ...]) -> Iterator[Six]:
    """web1 ... web3 and both databases are in a second network, of IPv6 addresses; it leads nowhere else."""
    name = f"{bed.project}-six"
    prefix = "fd00:" + bed.controller.removesuffix(".1").replace(".", ":")
    # Zeros that may be left out, and some that may not.
    octets = {"web1": "::11", "web2": ":0:1:0:c", "web3": "::13", "db": "::20", "dbmysql": "::21"}
    found = Six(name, {node: prefix + rest for node, rest in octets.items()}, f"{prefix}::1")
    with suppress(AssertionError):
        leave(found, bed)  # what a session that was killed left behind
    docker("network", "create", "--internal", "--ipv6", "--subnet", f"{prefix}::/64", name)
    for node, address in found.addresses.items():
        docker("network", "connect", "--ip6", address, name, f"{bed.project}-{node}")
    # The controller's own address is not used before nobody else has claimed it (RFC 4862, 5.4).
    wait_until(lambda: all(greets(found.addresses[name]) for name in ("web1", "web3")), 180)
    yield found
    leave(found, bed)


def leave(six: Six, bed: Bed) -> None:
    for node in six.addresses:
        with suppress(AssertionError):
            docker("network", "disconnect", "--force", six.name, f"{bed.project}-{node}")
    docker("network", "rm", six.name)


@pytest.fixture(scope="module")
def pair(bed: Bed, six: Six) -> tuple[Node, ...]:
    """Two nodes that the controller, too, reaches over IPv6."""
    nodes = (node_of(bed, name).as_admin() for name in ("web1", "web2"))
    return tuple(replace(node, address=six.addresses[node.name]) for node in nodes)


@pytest.fixture(scope="module")
def server(database_server: Database, six: Six) -> Database:
    """The database under its IPv6 address, administered from the controller's by an account for that."""
    account = least_privileged(database_server, six.controller)
    return replace(account, host=six.addresses[database_server.name])


@pytest.fixture
def access(server: Database, database_server: Database, pair: tuple[Node, ...]) -> Iterator[SiteAccess]:
    """A site that both nodes reach, at the addresses that the database told."""
    forget(database_server, NAME)
    seen = [address for node in pair for address in discover_client_addresses(node, server).addresses]
    access = access_named(NAME, *seen)
    converge(server, access)
    yield access
    forget(database_server, NAME)


def test_a_site_is_let_in_from_the_addresses_that_the_database_sees(
    server: Database, access: SiteAccess, six: Six, pair: tuple[Node, ...], root_sql: RootSql
) -> None:
    assert access.hosts == (six.addresses["web1"], six.addresses["web2"])
    stored = root_sql(server.name, f"SELECT Host FROM mysql.user WHERE User = '{NAME}' ORDER BY 1").split()
    assert stored == sorted(access.hosts)
    for node in pair:
        assert verify_login(node, server, access) == f"{NAME}@{node.address}"
    assert not converge(server, access)


def test_php_on_the_node_takes_the_address_as_its_virtual_host_has_it(
    server: Database, access: SiteAccess, docker_exec: DockerExec
) -> None:
    credentials = Credentials(server.host, server.port, access.database, access.user, access.password)
    values = environment_for(Site(uri="six.example.org", platform="six"), credentials)
    words = [
        f"{name}={value if isinstance(value, str) else value.get_secret_value()}" for name, value in values
    ]
    for node, host in zip(("web1", "web2"), access.hosts, strict=True):
        said = docker_exec(node, "env", *words, "php", "-r", LOG_IN)
        assert said.split() == [f"{NAME}@{host}"] * 2


def test_a_node_with_two_addresses_is_let_in_at_both_and_never_refused_meanwhile(
    server: Database, database_server: Database, access: SiteAccess, bed: Bed, pair: tuple[Node, ...]
) -> None:
    """The database is reached at an address of either family, which a host name may stand for."""
    node, old = pair[0], bed.addresses["web1"]
    both = replace(server, readers=(database_server,))
    assert discover_client_addresses(node, both).addresses == tuple(sorted([old, node.address]))
    with polling_from(node, server, access):
        more = replace(access, hosts=(*access.hosts, old))
        assert kinds(converge(server, more)) == ["create account", "mark", "grant", "cut in"]
    assert verify_login(node, server, more) == f"{NAME}@{node.address}"
    assert verify_login(node, database_server, more) == f"{NAME}@{old}"


def test_a_node_that_left_is_refused_and_its_session_ended(
    server: Database, access: SiteAccess, pair: tuple[Node, ...]
) -> None:
    staying, leaving = (log_in_from(connect(node), server, access.user, access.password) for node in pair)
    with closing(staying), closing(leaving):
        left = replace(access, hosts=access.hosts[:1])
        assert kinds(converge(server, left, drop_stale=True)) == ["lock", "drop account"]
        staying.query("SELECT 1")
        with pytest.raises(pymysql.MySQLError) as ended:
            leaving.query("SELECT 1")
        assert ended.value.args[0] in CONNECTION_LOST
    (there,) = (each for each in plain_facts(server).accounts if each.account.user == NAME)
    assert there.account.host == pair[0].address


@pytest.mark.parametrize("prepared", ["web3"], indirect=True)
def test_a_visitor_over_ipv6_gets_what_one_over_ipv4_gets_from_nginx(web_server: Server, six: Six) -> None:
    there = replace(web_server.node, address=six.addresses[web_server.node.name])
    over_six = replace(web_server, node=there)
    wanted = {SITE: (200, b"static\n"), f"old.{SITE}": (301, None), "nobody.example.org": (404, None)}
    for host, (status, body) in wanted.items():
        first, second = (each.get("/s.txt", host) for each in (web_server, over_six))
        assert first.status == second.status == status
        assert first.body == second.body
        assert first.header("Location") == second.header("Location")
        assert body is None or second.body == body
    assert over_six.get("/").status == 200
    # A node that the controller itself reaches over IPv6 only.
    assert not over_six.plan(gone=("two.example.org",))
