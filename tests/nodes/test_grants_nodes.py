"""Grants as nodes see them: from each of them, through a proxy, with a probe account, and on a replica."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from tasks.errors import Drift, PlanRefused
from tasks.fleet import Database, Node
from tasks.grants.discover import discover_client_addresses, sight
from tasks.grants.drift import find_drift
from tasks.grants.own_account import probe_sql
from tasks.grants.plan import plan_grants
from tasks.grants.replicas import compare_replica, wait_for_replica
from tasks.grants.values import Account, SiteAccess
from tasks.grants.verify import verify_login, verify_logins
from tests.nodes.databases import least_privileged
from tests.nodes.grant_tools import (
    access_named,
    converge,
    create,
    drop,
    everything_of,
    execute,
    forget,
    grant,
    kinds,
    owned,
    plain_facts,
    polling_from,
)

if TYPE_CHECKING:
    from tests.nodes.conftest import Bed
    from tests.nodes.databases import Replica, RootSql

NAME, SIBLING = "site_n_m", "site_n_s"


@pytest.fixture(scope="module")
def pair(bed: Bed) -> tuple[Node, Node]:
    key = SecretStr(bed.private_key.read_text())
    first, second = (
        Node(name, bed.addresses[name], "apache", key, (bed.host_keys[name],), user="root")
        for name in ("web1", "web2")
    )
    return first, second


@pytest.fixture
def site(database_server: Database, pair: tuple[Node, Node]) -> Iterator[SiteAccess]:
    access = access_named(NAME, *(node.address for node in pair))
    for name in (NAME, SIBLING):
        forget(database_server, name)
    converge(database_server, access)
    yield access
    for name in (NAME, SIBLING):
        forget(database_server, name)


@pytest.fixture
def proxy(database_server: Database, bed: Bed) -> Iterator[Database]:
    """The server behind something on this machine that passes connections on, as a load balancer would."""
    listener = socket.create_server((bed.controller, 0))
    thread = threading.Thread(target=_pass_on, args=(listener, database_server), daemon=True)
    thread.start()
    yield replace(database_server, host=bed.controller, port=listener.getsockname()[1])
    listener.close()
    thread.join(5)


def _pass_on(listener: socket.socket, server: Database) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            upstream = socket.create_connection((server.host, server.port))
            for one, other in ((client, upstream), (upstream, client)):
                threading.Thread(target=_copy, args=(one, other), daemon=True).start()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with suppress(OSError):
        other.shutdown(socket.SHUT_RDWR)


def test_every_site_is_let_into_its_own_database_from_every_node_and_into_no_sibling(
    database_server: Database, site: SiteAccess, pair: tuple[Node, Node]
) -> None:
    sibling = access_named(SIBLING, *site.hosts)
    converge(database_server, site, sibling)
    for node in pair:
        assert verify_logins(node, database_server, [site, sibling]).ok
    grant(database_server, Account(NAME, pair[0].address), owned(sibling))
    outcome = verify_logins(pair[0], database_server, [site, sibling])
    assert "1 of 2 site(s)" in str(outcome.error)
    assert f"may use '{SIBLING}', which is not its own" in str(outcome.error)
    assert verify_logins(pair[1], database_server, [site, sibling]).ok
    converge(database_server, site, sibling)
    assert verify_logins(pair[0], database_server, [site, sibling]).ok


def test_no_node_is_refused_while_everything_changes(
    database_server: Database, site: SiteAccess, pair: tuple[Node, Node]
) -> None:
    """Another spelling, a node more, one account wrong and one too many, from both nodes all the while."""
    first, second = pair
    spelled = f"`{NAME}`.* TO `{NAME}`@`{first.address}`"
    with polling_from(first, database_server, site), polling_from(second, database_server, site):
        execute(database_server, f"GRANT ALL ON {spelled}")
        converge(database_server, replace(site, hosts=(*site.hosts, "10.9.9.9")))
        execute(database_server, f"ALTER USER `{NAME}`@`10.9.9.9` IDENTIFIED BY 'by-hand'")
        converge(database_server, replace(site, hosts=(*site.hosts, "10.9.9.9")))
        create(database_server, Account(NAME, "%"), "another")
        converge(database_server, site, adopt=True, drop_stale=True)
    for node in pair:
        assert verify_login(node, database_server, site) == f"{NAME}@{node.address}"
    assert not find_drift([site], plain_facts(database_server))


def test_a_login_that_may_not_write_is_no_proof(
    database_server: Database, site: SiteAccess, pair: tuple[Node, Node]
) -> None:
    execute(database_server, f"REVOKE INSERT ON `{owned(site)}`.* FROM `{NAME}`@`{pair[0].address}`")
    with pytest.raises(Drift, match="may not INSERT in its own database"):
        verify_login(pair[0], database_server, site)
    verify_login(pair[1], database_server, site)
    # Nothing was left behind by looking.
    assert execute(database_server, f"SHOW TABLES FROM `{NAME}`") == []


def test_a_probe_account_without_any_privilege_tells_the_address_too(
    database_server: Database, pair: tuple[Node, Node], root_sql: RootSql
) -> None:
    network = f"{pair[0].address.rpartition('.')[0]}.0"
    root_sql(database_server.name, probe_sql("prober", f"{network}/24", password="probe-for-tests"))
    try:
        known = replace(database_server, probe_user="prober", probe_password=SecretStr("probe-for-tests"))
        assert discover_client_addresses(pair[0], known).addresses == (pair[0].address,)
        wrong = replace(known, probe_password=SecretStr("another"))
        assert discover_client_addresses(pair[0], wrong).addresses == (pair[0].address,)
    finally:
        root_sql(database_server.name, f"DROP USER prober@`{network}/255.255.255.0`")


def test_9_behind_a_proxy_nodes_have_one_address_and_no_identity(
    proxy: Database, bed: Bed, pair: tuple[Node, Node]
) -> None:
    seen = {node.name: discover_client_addresses(node, proxy) for node in pair}
    sightings = sight(seen, [node.name for node in pair])
    assert sightings.hosts == (bed.controller,)
    assert sightings.shared == ((bed.controller, ("web1", "web2")),)
    access = access_named(NAME, *sightings.hosts)
    forget(proxy, NAME)
    # One account, for whoever comes through it; it works from both.
    assert kinds(converge(proxy, access)).count("cut in") == 1
    for node in pair:
        assert verify_login(node, proxy, access) == f"{NAME}@{bed.controller}"
    forget(proxy, NAME)


def test_every_endpoint_is_asked_and_one_that_does_not_answer_is_no_address(
    database_server: Database, proxy: Database, bed: Bed, pair: tuple[Node, Node]
) -> None:
    both = replace(database_server, readers=(replace(proxy, name="reader"),))
    found = discover_client_addresses(pair[0], both)
    assert (found.addresses, found.silent) == (tuple(sorted([pair[0].address, bed.controller])), ())


def test_a_dbas_accounts_are_untouched_byte_for_byte(
    database_server: Database, site: SiteAccess, pair: tuple[Node, Node]
) -> None:
    dba = [Account("dba'", "%"), Account("dba'", "10.9.9.9"), Account("report%", "10.9.%")]
    try:
        for account in dba:
            create(database_server, account)
            grant(database_server, account, NAME)
            grant(database_server, account, "site\\_%", "SELECT, INSERT")
        users = ("dba\\'", "report%")
        before = everything_of(database_server, users)
        assert len(before[0]) == 3
        converge(database_server, replace(site, hosts=site.hosts[:1]), drop_stale=True, adopt=True)
        converge(database_server, site, access_named(SIBLING, *site.hosts), adopt=True)
        assert everything_of(database_server, users) == before
    finally:
        drop(database_server, *dba)


def test_what_a_replica_lacks_shows_although_its_writer_has_it(
    mariadb_server: Database, replica: Replica, root_sql: RootSql, pair: tuple[Node, Node]
) -> None:
    access = access_named(NAME, *(node.address for node in pair))
    forget(mariadb_server, NAME)
    converge(mariadb_server, access)
    actual = plain_facts(mariadb_server)
    assert wait_for_replica(replica.database, [access], actual).ok
    with pytest.raises(PlanRefused, match="read-only"):
        converge(replica.database, replace(access, hosts=("10.9.9.9",)))
    # As it has been seen on a cluster: gone on one node, and everything looks well.
    account = f"`{NAME}`@`{pair[0].address}`"
    try:
        root_sql("db2", f"SET sql_log_bin = 0; DROP USER {account}")
        (row,) = compare_replica(replica.database, [access], actual).rows
        assert (row.kind, row.host, row.server) == ("REPLICA_MISSING", pair[0].address, "db2")
        with pytest.raises(Drift, match="db2 has not all that the writer has"):
            wait_for_replica(replica.database, [access], actual, seconds=1)
    finally:
        forget(mariadb_server, NAME)
        replica.catch_up()


def test_a_replica_that_was_stopped_is_no_writer_and_our_account_sees_that(
    mariadb_server: Database, replica: Replica, bed: Bed, root_sql: RootSql
) -> None:
    ours = least_privileged(mariadb_server, bed.controller, "packmaster_looks")
    replica.catch_up()
    there = replace(ours, name="db2", host=replica.database.host)
    root_sql("db2", "STOP SLAVE; SET GLOBAL read_only = 0")
    try:
        facts = plain_facts(there)
        assert (facts.server.follows, facts.server.shows_source) == (True, True)
        with pytest.raises(PlanRefused, match="set up to replicate"):
            plan_grants([access_named(NAME, "10.9.9.9")], facts)
    finally:
        root_sql("db2", "SET GLOBAL read_only = 1; START SLAVE")
    assert not plain_facts(ours).server.follows
    drop(mariadb_server, Account(ours.admin_user, bed.controller))
    replica.catch_up()
