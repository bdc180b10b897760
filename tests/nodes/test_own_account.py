"""Packmaster's own account with the rights that `setup-sql` gives it: enough for its work, and no more."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pymysql
import pytest
from pydantic import SecretStr

from tasks.errors import AccessDenied
from tasks.fleet import Database
from tasks.grants.apply import apply_grants
from tasks.grants.connection import log_in_from, open_admin
from tasks.grants.facts import read_grant_facts
from tasks.grants.plan import plan_grants
from tasks.grants.values import (
    SITE_PRIVILEGES,
    Desired,
    RemovedAccess,
    SiteAccess,
    database_name,
    user_name,
)
from tasks.grants.verify import verify_login
from tasks.ssh import connect
from tests.nodes.databases import least_privileged
from tests.nodes.prepared import node_of

if TYPE_CHECKING:
    from tests.nodes.conftest import Bed
    from tests.nodes.databases import RootSql

LIMITED = "packmaster_limited"
DENIED = {1044, 1045, 1142, 1227, 1698}
CONNECTION_LOST = {2006, 2013, 1927}
# What nobody who holds the account's password shall be able to do.
FORBIDDEN = (
    "SELECT * FROM shop.t",
    "CREATE DATABASE other",
    "USE siteXshop",
    "GRANT SELECT ON shop.* TO `mule`@`10.9.9.8`",
    "GRANT SELECT ON `site_%`.* TO `mule`@`10.9.9.8`",
    "GRANT SELECT ON `s%`.* TO `mule`@`10.9.9.8`",
    "GRANT SELECT ON `site_a_b`.* TO `mule`@`10.9.9.8`",
    "GRANT EVENT ON `site\\_a`.* TO `mule`@`10.9.9.8`",
    "GRANT ALL ON `site\\_a`.* TO `mule`@`10.9.9.8`",
    "GRANT SELECT ON mysql.* TO `mule`@`10.9.9.8`",
    "GRANT CREATE USER ON *.* TO `mule`@`10.9.9.8`",
    "GRANT SELECT ON shop.* TO CURRENT_USER()",
    "GRANT PROXY ON `root`@`localhost` TO `mule`@`10.9.9.8`",
    "UPDATE mysql.user SET Host = '%' WHERE User = 'mule'",
    "SET GLOBAL general_log = 1",
    "SELECT 1 INTO OUTFILE '/tmp/x'",
    "SHUTDOWN",
)
FOREIGN = """
CREATE DATABASE IF NOT EXISTS shop; CREATE TABLE IF NOT EXISTS shop.t (a INT);
CREATE DATABASE IF NOT EXISTS siteXshop;
CREATE USER IF NOT EXISTS mule@`10.9.9.8`;
CREATE USER IF NOT EXISTS dba@`10.9.9.9` IDENTIFIED BY 'the-dba-s-own'; GRANT ALL ON *.* TO dba@`10.9.9.9`;
"""
AWAY = """
DROP DATABASE shop; DROP DATABASE siteXshop; DROP USER mule@`10.9.9.8`; DROP USER dba@`10.9.9.9`;
"""


@pytest.fixture
def limited(bed: Bed, database_server: Database, root_sql: RootSql) -> Iterator[Database]:
    """The server, administered with exactly what the set-up SQL gives."""
    yield least_privileged(database_server, bed.controller, LIMITED)
    root_sql(database_server.name, f"DROP USER `{LIMITED}`@`{bed.controller}`")


@pytest.fixture
def converge(limited: Database) -> Callable[..., None]:
    def converge(*desired: Desired) -> None:
        with closing(open_admin(limited)) as connection:
            plan = plan_grants(desired, read_grant_facts(connection, limited.name), drop_stale=True)
        apply_grants(limited, desired, plan)
        apply_grants(limited, desired, plan, removals=True)
        with closing(open_admin(limited)) as connection:
            facts = read_grant_facts(connection, limited.name)
        assert not plan_grants(desired, facts, drop_stale=True)

    return converge


def test_it_is_enough_to_give_a_site_its_database_and_to_take_it_back(
    bed: Bed, limited: Database, converge: Callable[..., None], root_sql: RootSql
) -> None:
    uri = "least-privilege.example.org"
    nodes = [node_of(bed, name).as_admin() for name in ("web1", "web2")]
    both = SiteAccess(
        uri, database_name(uri), user_name(uri), SecretStr("first"), tuple(n.address for n in nodes)
    )
    converge(both)
    for node in nodes:
        assert verify_login(node, limited, both) == f"{both.user}@{node.address}"
    escaped = both.database.replace("_", "\\_")
    root_sql(limited.name, f"REVOKE INSERT ON `{escaped}`.* FROM '{both.user}'@'{nodes[0].address}'")
    converge(both)
    staying, leaving = (log_in_from(connect(node), limited, both.user, both.password) for node in nodes)
    with closing(staying), closing(leaving):
        converge(replace(both, hosts=both.hosts[:1]))
        assert refusal(staying, f"USE {both.database}") == 0
        # A session outlives its account, unless it is ended.
        assert refusal(leaving, f"USE {both.database}") in CONNECTION_LOST
    with pytest.raises(AccessDenied):
        verify_login(nodes[1], limited, both)
    converge(RemovedAccess(uri, both.database, both.user))
    assert root_sql(limited.name, f"SELECT Host FROM mysql.user WHERE User = '{both.user}'") == ""
    assert both.database not in root_sql(limited.name, "SHOW DATABASES")


def test_what_it_may_not_take_keeps_nobody_else_from_leaving(
    bed: Bed, limited: Database, converge: Callable[..., None], root_sql: RootSql
) -> None:
    uri, hosts = "refused.example.org", (bed.addresses["web1"], "10.9.9.8")
    both = SiteAccess(uri, database_name(uri), user_name(uri), SecretStr("first-password"), hosts)
    converge(both)
    root_sql(limited.name, f"{FOREIGN} GRANT SELECT ON shop.* TO `{both.user}`@`{hosts[0]}`")
    staying, told = replace(both, hosts=hosts[:1]), list[str]()
    with closing(open_admin(limited)) as connection:
        plan = plan_grants([staying], read_grant_facts(connection, limited.name), drop_stale=True)
    assert [step.kind for step in plan.steps] == ["revoke", "lock", "drop account"]
    with pytest.raises(AccessDenied, match=r"REVOKE SELECT ON `shop`.*1044"):
        apply_grants(limited, [staying], plan, removals=True, tell=told.append)
    left = root_sql(limited.name, f"SELECT Host FROM mysql.user WHERE User = '{both.user}'").split()
    assert left == [hosts[0]]
    assert f"DROP USER IF EXISTS `{both.user}`@`10.9.9.8`" in told[0].splitlines()
    assert "refused: REVOKE SELECT" in told[1]
    root_sql(limited.name, f"REVOKE SELECT ON shop.* FROM `{both.user}`@`{hosts[0]}`; {AWAY}")
    converge(RemovedAccess(uri, both.database, both.user))


@pytest.fixture
def connection(limited: Database, root_sql: RootSql) -> Iterator[pymysql.connections.Connection]:
    """A connection of the account, on a server on which others have databases and accounts too."""
    root_sql(limited.name, FOREIGN)
    with closing(open_admin(limited)) as connection:
        yield connection
    root_sql(limited.name, AWAY)


def refusal(connection: pymysql.connections.Connection, statement: str) -> int:
    """The number of the server's refusal, or 0 where it did what it was told."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
    except pymysql.MySQLError as error:
        return int(error.args[0])
    return 0


def test_it_reads_and_gives_nothing_outside_the_databases_of_sites(
    limited: Database, connection: pymysql.connections.Connection, root_sql: RootSql
) -> None:
    tried = {statement: refusal(connection, statement) for statement in FORBIDDEN}
    assert not {statement: code for statement, code in tried.items() if code not in DENIED}
    assert refusal(connection, f"GRANT {', '.join(SITE_PRIVILEGES)} ON `site\\_a`.* TO mule@`10.9.9.8`") == 0


def test_what_it_did_not_give_it_cannot_take_back(
    limited: Database, connection: pymysql.connections.Connection, root_sql: RootSql
) -> None:
    root_sql(limited.name, "GRANT SELECT ON `site_a`.* TO mule@`10.9.9.8`")
    assert refusal(connection, "REVOKE SELECT ON `site_a`.* FROM mule@`10.9.9.8`") == 1044


def test_how_far_it_reaches_to_accounts_of_administrators(
    limited: Database, connection: pymysql.connections.Connection
) -> None:
    """MySQL keeps it from them (SYSTEM_USER). MariaDB does not: there its password is as good as root's."""
    code = refusal(connection, "ALTER USER dba@`10.9.9.9` IDENTIFIED BY 'somebody-else-s'")
    assert code == (1227 if limited.name == "dbmysql" else 0)


def test_the_rights_are_those_that_the_server_shows(limited: Database, bed: Bed, root_sql: RootSql) -> None:
    shown = root_sql(limited.name, f"SHOW GRANTS FOR `{LIMITED}`@`{bed.controller}`")
    wide = [line for line in shown.splitlines() if " ON *.* " in line]
    allowed = {
        "USAGE",
        "CREATE USER",
        "PROCESS",
        "CONNECTION ADMIN",
        "CONNECTION_ADMIN",
        "REPLICATION CLIENT",
    }
    given = {
        right for line in wide for right in re.split(r", ", line.split(" ON ")[0].removeprefix("GRANT "))
    }
    assert given <= allowed | {"BINLOG MONITOR", "SLAVE MONITOR", "REPLICA MONITOR"}
