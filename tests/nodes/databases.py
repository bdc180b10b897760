"""The database servers of the bed: MariaDB, a real MySQL, and a replica of the MariaDB one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import pytest
from pydantic import SecretStr

from tasks.fleet import Database
from tasks.grants.connection import open_admin
from tasks.grants.own_account import ServerKind, setup_sql

if TYPE_CHECKING:
    from tests.nodes.conftest import Bed, DockerExec

FOLLOW_SECONDS = 30
# Over the socket, as the administrator of the machine: what a DBA does by hand.
ROOT_LOGIN = ("mysql", "-N", "-B")
FOLLOW = """
STOP SLAVE;
CHANGE MASTER TO MASTER_HOST='{host}', MASTER_USER='replica', MASTER_PASSWORD='for-the-bed-only',
    MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1;
START SLAVE;
"""


class RootSql(Protocol):
    """Runs statements as root on a database server of the bed; gives the rows, columns between tabs."""

    def __call__(self, name: str, statements: str, *, check: bool = True) -> str: ...


@dataclass(frozen=True)
class Replica:
    """A read-only MariaDB that follows `db`. `catch_up` returns when it has all that `db` has."""

    database: Database
    catch_up: Callable[[], None]


@pytest.fixture(scope="session")
def root_sql(docker_exec: DockerExec) -> RootSql:
    def root_sql(name: str, statements: str, *, check: bool = True) -> str:
        return docker_exec(name, *ROOT_LOGIN, stdin=statements, check=check)

    return root_sql


@pytest.fixture(scope="session")
def mariadb_server(bed: Bed) -> Database:
    """The MariaDB server that the whole bed uses, `db`."""
    return Database("db", bed.db_host, bed.db_admin_user, SecretStr(bed.db_admin_password), bed.db_port)


@pytest.fixture(scope="session")
def mysql_server(bed: Bed, mariadb_server: Database, start_nodes: Callable[..., None]) -> Database:
    """A MySQL server, `dbmysql`; the first start takes some seconds, and a minute where its image is new."""
    start_nodes("dbmysql")
    return replace(mariadb_server, name="dbmysql", host=mariadb_server.host.removesuffix("20") + "21")


@pytest.fixture(scope="session", params=["mariadb", "mysql"])
def database_server(request: pytest.FixtureRequest) -> Database:
    """Each kind of server in turn; its name is the container's, for `docker_exec` and `root_sql`."""
    found = request.getfixturevalue(f"{request.param}_server")
    assert isinstance(found, Database)
    return found


@pytest.fixture(scope="session")
def database_servers(mariadb_server: Database, mysql_server: Database) -> tuple[Database, ...]:
    """Both at once."""
    return mariadb_server, mysql_server


def least_privileged(
    database: Database,
    controller: str,
    user: str = "packmaster_flows",
    password: str = "least-for-the-tests",
) -> Database:
    """The server, administered with exactly what the set-up SQL gives, from the controller's address.

    The statements are run by the account that may give the mark on this bed, and twice: they have to be safe
    to repeat.
    """
    kind: ServerKind = "mysql" if database.name == "dbmysql" else "mariadb"
    sql = setup_sql(kind, user, controller, password=password)
    statements = [line for line in sql.splitlines() if line and not line.startswith("--")]
    with closing(open_admin(database)) as connection, connection.cursor() as cursor:
        for statement in statements * 2:
            cursor.execute(statement.removesuffix(";"))
    return replace(database, admin_user=user, admin_password=SecretStr(password))


@pytest.fixture
def replica(
    mariadb_server: Database, start_nodes: Callable[..., None], root_sql: RootSql
) -> Iterator[Replica]:
    """`db2` as a replica of `db`; whatever a test did to it, the next one finds it following again."""
    start_nodes("db2")
    database = replace(mariadb_server, name="db2", host=mariadb_server.host.removesuffix("20") + "22")
    root_sql("db", follower_sql(database.host))
    if "Yes\tYes" not in _threads(root_sql):
        root_sql("db2", FOLLOW.format(host=mariadb_server.host))
    root_sql("db2", "SET GLOBAL read_only = 1")

    def catch_up() -> None:
        position = root_sql("db", "SELECT @@gtid_binlog_pos").strip()
        waited = root_sql("db2", f"SELECT MASTER_GTID_WAIT('{position}', {FOLLOW_SECONDS})").strip()
        assert waited == "0", f"db2 does not follow db: {root_sql('db2', 'SHOW ALL SLAVES STATUS')}"

    catch_up()
    yield Replica(database, catch_up)
    root_sql("db2", "SET GLOBAL read_only = 1; START SLAVE")


def follower_sql(host: str) -> str:
    """What the primary needs for a replica at `host`."""
    account = f"'replica'@'{host}'"
    return (
        f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY 'for-the-bed-only'; "
        f"GRANT REPLICATION SLAVE ON *.* TO {account}"
    )


def _threads(root_sql: RootSql) -> str:
    ends = time.monotonic() + 5
    while True:
        status = root_sql("db2", "SHOW SLAVE STATUS").split("\t")
        running = "\t".join(status[10:12])
        if "Connecting" not in running or time.monotonic() > ends:
            return running
        time.sleep(0.2)
