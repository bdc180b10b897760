"""A server that asks the DNS who comes: a second MariaDB in `db`. The bed has no IPv6."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from tasks.errors import PlanRefused
from tasks.fleet import Database, Node
from tasks.grants.discover import discover_client_addresses
from tasks.grants.drift import find_drift
from tasks.grants.values import Account
from tasks.grants.verify import verify_login
from tests.nodes.fleet import wait_until
from tests.nodes.grant_tools import access_named, converge, create, plain_facts

if TYPE_CHECKING:
    from tests.nodes.conftest import Bed, DockerExec

NAME, PORT = "site_n_n", 3307
START = """
rm -rf /tmp/resolving && mariadb-install-db --user=mysql --datadir=/tmp/resolving --skip-test-db \
    --auth-root-authentication-method=socket >/dev/null 2>&1
setsid mariadbd --user=mysql --datadir=/tmp/resolving --port=3307 --socket=/tmp/resolving.sock \
    --pid-file=/tmp/resolving.pid --skip-name-resolve=OFF --bind-address=0.0.0.0 --skip-log-bin \
    >/tmp/resolving.log 2>&1 </dev/null &
"""
ACCOUNT = (
    "CREATE USER `packmaster`@`{host}` IDENTIFIED BY '{password}'; GRANT ALL ON *.* TO `packmaster`@`{host}`"
)


@pytest.fixture(scope="module")
def resolving(bed: Bed, mariadb_server: Database, docker_exec: DockerExec) -> Iterator[Database]:
    """A MariaDB with skip_name_resolve off."""
    docker_exec("db", "sh", "-c", START)

    def is_up() -> bool:
        return docker_exec("db", "sh", "-c", "test -S /tmp/resolving.sock && echo up", check=False) == "up\n"

    wait_until(is_up)
    sql = f"{ACCOUNT} WITH GRANT OPTION".format(host="%", password=bed.db_admin_password)
    docker_exec("db", "mysql", "-S", "/tmp/resolving.sock", stdin=sql)
    yield replace(mariadb_server, name="resolving", port=PORT)
    docker_exec("db", "sh", "-c", "kill $(cat /tmp/resolving.pid)")


@pytest.fixture(scope="module")
def node(bed: Bed) -> Node:
    key = SecretStr(bed.private_key.read_text())
    return Node("web1", bed.addresses["web1"], "apache", key, (bed.host_keys["web1"],), user="root")


def test_20_a_server_that_resolves_names_is_not_planned_for_by_name(resolving: Database, node: Node) -> None:
    """What it calls a node is what a DNS says today. An account at its address works all the same."""
    assert not plain_facts(resolving).server.skips_name_resolve
    with pytest.raises(PlanRefused, match=r"from the name .*Set skip_name_resolve"):
        discover_client_addresses(node, resolving)
    access = access_named(NAME, node.address)
    converge(resolving, access)
    assert verify_login(node, resolving, access) == f"{NAME}@{node.address}"
    # An account at the node's name is no match for the one at its address, and is somebody else's.
    create(resolving, Account("", who_is(resolving, node)), "nobody-s")
    assert verify_login(node, resolving, access) == f"{NAME}@{node.address}"
    assert not find_drift([access], plain_facts(resolving))


def who_is(resolving: Database, node: Node) -> str:
    """The name under which the server sees the node."""
    try:
        discover_client_addresses(node, resolving)
    except PlanRefused as refused:
        return refused.reason.split("'")[1]
    raise AssertionError("it has no name")
