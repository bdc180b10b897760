"""Grants on a Galera cluster of two MariaDB servers: given through one, looked for and used through both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import pymysql
import pytest

from blocks import Cluster, DatabaseServer, Platform, Site, site_block_name
from flows.reconcile_grants import reconcile_grants
from tasks.errors import AccessDenied, Drift, PlanRefused
from tasks.fleet import Database, Node
from tasks.grants import user_name
from tasks.grants.connection import log_in_from
from tasks.grants.discover import discover_client_addresses
from tasks.grants.replicas import compare_replica, wait_for_replica
from tasks.grants.values import SiteAccess, database_name
from tasks.grants.verify import verify_login
from tasks.ssh import connect
from tests.nodes.databases import RootSql, least_privileged
from tests.nodes.fleet import Fleet, change_nothing, fail, fleet, saved, succeed, wait_until
from tests.nodes.grant_tools import SECRET, converge, execute, facts_of, forget, plain_facts, polling_from
from tests.nodes.prepared import prepared

__all__ = ["fleet"]

URI = "galera.example.org"
NODES = ("web1", "web2")
MEMBERS = ("dbgalera1", "dbgalera2")
NOBODY_LISTENS = 3307
STATE = (
    "SELECT GROUP_CONCAT(VARIABLE_VALUE ORDER BY VARIABLE_NAME SEPARATOR '/') "
    "FROM information_schema.GLOBAL_STATUS "
    "WHERE VARIABLE_NAME IN ('wsrep_cluster_status', 'wsrep_local_state_comment')"
)


@dataclass(frozen=True)
class Members:
    """A site's database on the cluster: `writer` is written to, and has the other member as its reader."""

    writer: Database
    site: Site
    nodes: tuple[Node, ...]
    sql: RootSql

    @property
    def both(self) -> tuple[Database, Database]:
        return self.writer, self.writer.readers[0]

    @property
    def access(self) -> SiteAccess:
        hosts = tuple(node.address for node in self.nodes)
        return SiteAccess(URI, database_name(URI), user_name(URI), SECRET, hosts)

    def forget(self) -> None:
        """Neither member knows anything of the site."""
        forget(self.writer, self.access.user)
        execute(self.writer, f"DROP DATABASE IF EXISTS `{self.access.database}`")

    def await_state(self, name: str, state: str) -> None:
        wait_until(lambda: self.sql(name, STATE).strip() == state, 180)

    def check_logins(self) -> None:
        """The site is let in from every node through every member, into its own database alone."""
        for member in self.both:
            for node in self.nodes:
                account = f"{self.access.user}@{node.address}"
                assert verify_login(node, member, self.access) == account, member.name


@pytest.fixture(scope="module")
def members(
    bed: Any, fleet: Fleet, start_nodes: Callable[..., None], mariadb_server: Database, root_sql: RootSql
) -> Iterator[Members]:
    """Both members up, and a site registered of which the database knows nothing yet."""
    start_nodes(*MEMBERS)
    nodes = prepared(bed, *NODES)
    first, second = (
        replace(mariadb_server, name=name, host=mariadb_server.host.removesuffix("20") + octet)
        for name, octet in zip(MEMBERS, ("23", "24"), strict=True)
    )
    # The administrator's account, too, gets to the other member by itself.
    account = least_privileged(first, bed.controller)
    admin = {"admin_user": account.admin_user, "admin_password": account.admin_password}
    saved(DatabaseServer(host=second.host, **admin), MEMBERS[1])
    server = saved(DatabaseServer(host=first.host, replicas=[MEMBERS[1]], **admin), MEMBERS[0])
    cluster = saved(Cluster(servers=list(NODES)), "galera-web")
    platform = saved(Platform(target=cluster, source="/nowhere"), "galera")
    site = Site(uri=URI, platform=platform, database=server, database_password=SECRET)
    found = Members(server.database(), saved(site, site_block_name(URI)), nodes, root_sql)
    for name in MEMBERS:
        found.await_state(name, "Primary/Synced")
    found.forget()
    yield found
    found.forget()
    # A server that is a member of a cluster keeps our key: other tests ask when it goes.
    Site.unregister(site_block_name(URI))
    Platform.unregister("galera")
    Cluster.unregister("galera-web")
    for name in MEMBERS:
        DatabaseServer.unregister(name)


def stored_hosts(member: Database, access: SiteAccess) -> set[str]:
    return {
        there.account.host
        for there in plain_facts(member).accounts
        if there.managed and there.account.user == access.user
    }


def test_what_is_given_through_one_member_works_through_both(members: Members) -> None:
    succeed(reconcile_grants, site=members.site)
    members.check_logins()
    for member in members.both:
        assert stored_hosts(member, members.access) == {*members.access.hosts}
        assert plain_facts(member).server.galera == "Primary/Synced"
    change_nothing(reconcile_grants, site=members.site)


def test_nobody_is_refused_through_either_member_while_accounts_change(members: Members) -> None:
    (first, second), (writer, reader) = members.nodes, members.both
    assert discover_client_addresses(first, writer).addresses == (first.address,)
    with polling_from(first, writer, members.access), polling_from(second, reader, members.access):
        execute(writer, f"ALTER USER `{members.access.user}`@`{second.address}` ACCOUNT UNLOCK")
        converge(writer, replace(members.access, hosts=(*members.access.hosts, "10.9.9.9")))
        converge(writer, members.access, drop_stale=True)
    for member in members.both:
        assert not [there for there in plain_facts(member).accounts if there.account.host == "10.9.9.9"]


def test_who_leaves_is_thrown_out_of_every_member(members: Members) -> None:
    (writer, reader), (staying, leaving) = members.both, members.nodes
    converge(writer, members.access)
    with (
        closing(log_in_from(connect(leaving), reader, members.access.user, SECRET)) as lost,
        closing(log_in_from(connect(staying), reader, members.access.user, SECRET)) as kept,
    ):
        converge(writer, replace(members.access, hosts=(staying.address,)), drop_stale=True)
        with pytest.raises((pymysql.MySQLError, OSError)):
            lost.cursor().execute("SELECT 1")
        kept.cursor().execute("SELECT 1")
    succeed(reconcile_grants, site=members.site)


def test_a_reader_that_is_down_keeps_nobody_out_and_nothing_is_taken_back(members: Members) -> None:
    writer, reader = members.both
    admin = {"admin_user": writer.admin_user, "admin_password": writer.admin_password}
    saved(DatabaseServer(host=reader.host, port=NOBODY_LISTENS, **admin), "galera-gone")
    block = DatabaseServer.load(writer.name)
    saved(DatabaseServer(**{**block.model_dump(), "replicas": [reader.name, "galera-gone"]}), writer.name)
    stale = replace(members.access, hosts=(*members.access.hosts, "10.9.9.9"))
    try:
        converge(writer, stale)
        execute(writer, f"DROP USER `{members.access.user}`@`{members.nodes[0].address}`")
        said = fail(reconcile_grants, site=members.site)
        assert "galera-gone" in said
        members.check_logins()
        assert stored_hosts(writer, members.access) == set(stale.hosts)
    finally:
        saved(block, writer.name)
        DatabaseServer.unregister("galera-gone")
    succeed(reconcile_grants, site=members.site)
    assert stored_hosts(writer, members.access) == set(members.access.hosts)


def test_an_account_that_one_member_lost_shows_and_is_given_again_on_both(members: Members) -> None:
    """As it has been seen in the field: gone on one member, while the cluster says that all is well."""
    (writer, reader), (node, *_) = members.both, members.nodes
    account = f"`{members.access.user}`@`{node.address}`"
    members.sql(reader.name, f"SET SESSION wsrep_on = OFF; DROP USER {account}")
    verify_login(node, writer, members.access)
    with pytest.raises(AccessDenied):
        verify_login(node, reader, members.access)
    (row,) = compare_replica(reader, [members.access], plain_facts(writer)).rows
    assert (row.kind, row.host, row.server) == ("REPLICA_MISSING", node.address, reader.name)
    with pytest.raises(Drift, match=f"{reader.name} has not all that the writer has"):
        wait_for_replica(reader, [members.access], plain_facts(writer), seconds=0.5)
    # Where it is missing everywhere, it is given everywhere.
    members.sql(writer.name, f"DROP USER IF EXISTS {account}")
    succeed(reconcile_grants, site=members.site)
    members.check_logins()


def test_a_member_that_is_not_synced_is_not_written_to(members: Members) -> None:
    writer, _ = members.both
    locked = f"ALTER USER `{members.access.user}`@`{members.nodes[0].address}` ACCOUNT LOCK"
    members.sql(writer.name, f"{locked}; SET GLOBAL wsrep_desync = ON")
    try:
        assert "Galera state is Primary/Donor/Desynced" in fail(reconcile_grants, site=members.site)
        assert facts_of(writer).server.galera == "Primary/Donor/Desynced"
    finally:
        members.sql(writer.name, "SET GLOBAL wsrep_desync = OFF")
    members.await_state(writer.name, "Primary/Synced")
    succeed(reconcile_grants, site=members.site)
    members.check_logins()


def test_what_is_left_of_a_cluster_without_a_majority_is_refused_until_the_other_is_back(
    members: Members, docker_kill: Callable[[str], None], docker_start: Callable[[str], None]
) -> None:
    writer, reader = members.both
    docker_kill(reader.name)
    members.await_state(writer.name, "non-Primary/Initialized")
    with pytest.raises(PlanRefused, match=f"Galera state of {writer.name} is non-Primary/Initialized"):
        plain_facts(writer)
    docker_start(reader.name)
    for member in members.both:
        members.await_state(member.name, "Primary/Synced")
    change_nothing(reconcile_grants, site=members.site)
    members.check_logins()
