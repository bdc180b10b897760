"""What tests of grants share: a site on a real server, a client that never stops, and what others own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pymysql
from pydantic import SecretStr

from tasks.fleet import Database, Node
from tasks.grants.apply import apply_grants, read_facts_for
from tasks.grants.connection import log_in_from, open_admin
from tasks.grants.drift import find_drift
from tasks.grants.facts import read_grant_facts
from tasks.grants.grant_plan import GrantPlan
from tasks.grants.plan import plan_grants
from tasks.grants.spelling import escape_pattern
from tasks.grants.statements import quote_identifier as quote
from tasks.grants.values import Account, Desired, GrantFacts, SiteAccess
from tasks.ssh import connect

SECRET = SecretStr("s3cret-for-tests")


def execute(database: Database, *statements: str, as_text: bool = False) -> list[tuple[Any, ...]]:
    """Run statements as the administrator; gives the rows of the last one."""
    rows: list[tuple[Any, ...]] = []
    with closing(open_admin(database, values_as_text=as_text)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            rows = list(cursor.fetchall())
    return rows


def facts_of(database: Database, *desired: Desired) -> GrantFacts:
    with closing(open_admin(database)) as connection:
        return read_facts_for(connection, database.name, desired)


def plain_facts(database: Database) -> GrantFacts:
    with closing(open_admin(database)) as connection:
        return read_grant_facts(connection, database.name)


def converge(database: Database, *desired: Desired, **policy: Any) -> GrantPlan:
    """Plan and apply; a second run has nothing to do."""
    plan = plan_grants(desired, facts_of(database, *desired), **policy)
    apply_grants(database, desired, plan)
    apply_grants(database, desired, plan, removals=True)
    again = plan_grants(desired, facts_of(database, *desired), **policy)
    assert not again, f"a second run has work: {again}"
    return plan


def kinds(plan: GrantPlan) -> list[str]:
    return [step.kind for step in plan.steps]


def drift_kinds(database: Database, *desired: Desired) -> set[str]:
    return {row.kind for row in find_drift(desired, plain_facts(database)).rows}


def access_named(name: str, *hosts: str, password: SecretStr = SECRET) -> SiteAccess:
    return SiteAccess(name, name, name, password, hosts)


def grant(database: Database, account: Account, pattern: str, privileges: str = "SELECT") -> None:
    """What a DBA's hand does: a right on a pattern as it is written."""
    execute(
        database, f"GRANT {privileges} ON {quote(pattern)}.* TO {quote(account.user)}@{quote(account.host)}"
    )


def create(database: Database, account: Account, password: str = SECRET.get_secret_value()) -> None:
    who = f"{quote(account.user)}@{quote(account.host)}"
    execute(database, f"CREATE USER {who} IDENTIFIED BY '{password}'")


def drop(database: Database, *accounts: Account) -> None:
    for account in accounts:
        execute(database, f"DROP USER IF EXISTS {quote(account.user)}@{quote(account.host)}")


def forget(database: Database, name: str) -> None:
    """Nothing that a test made under this name is left, whoever made it."""
    there = plain_facts(database)
    drop(database, *(each.account for each in there.accounts if each.account.user == name))
    execute(database, f"DROP DATABASE IF EXISTS {quote(name)}")


def log_in(server: Database, access: SiteAccess, database: str | None = None) -> Any:
    """Log in from here, as the site would."""
    return pymysql.connect(
        host=server.host,
        port=server.port,
        user=access.user,
        password=access.password.get_secret_value(),
        autocommit=True,
        connect_timeout=10,
        database=database,
    )


def current_account(database: Database, access: SiteAccess) -> str:
    with closing(log_in(database, access)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_USER()")
        return str(cursor.fetchone()[0])


class Poller:
    """A client of a site that logs in anew all the time and does what it did before: never to be refused."""

    def __init__(self, log_in: Callable[[], Any], access: SiteAccess, statements: Sequence[str]) -> None:
        self._log_in, self._access, self._statements = log_in, access, statements
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.logins = 0
        self.refused: list[str] = []

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with closing(self._log_in()) as connection, connection.cursor() as cursor:
                    connection.select_db(self._access.database)
                    for statement in self._statements:
                        cursor.execute(statement)
                        cursor.fetchall()
                self.logins += 1
            except pymysql.MySQLError as error:
                self.refused.append(str(error))
            time.sleep(0.001)

    def __enter__(self) -> Poller:
        self._thread.start()
        self._at_least(2)
        return self

    def __exit__(self, *_: object) -> None:
        # Not before it was there after the last change.
        self._at_least(self.logins + 2)
        self._stop.set()
        self._thread.join(20)
        assert not self.refused, f"{len(self.refused)} of {self.logins} logins: {self.refused[:3]}"

    def _at_least(self, logins: int) -> None:
        ends = time.monotonic() + 10
        while self.logins < logins and not self.refused:
            assert self._thread.is_alive()
            assert time.monotonic() < ends, "the client does not get anywhere"
            time.sleep(0.005)


@contextmanager
def polling(database: Database, access: SiteAccess, *statements: str) -> Iterator[Poller]:
    """All the while, the site logs in, reads and writes its own database."""
    table = f"{quote(access.database)}.`polled`"
    execute(database, f"CREATE TABLE IF NOT EXISTS {table} (n INT)")
    work = statements or (
        "INSERT INTO polled VALUES (1)",
        "SELECT * FROM polled LIMIT 1",
        "DELETE FROM polled",
    )
    with Poller(lambda: log_in(database, access), access, work) as poller:
        yield poller


@contextmanager
def polling_from(node: Node, database: Database, access: SiteAccess) -> Iterator[Poller]:
    """The same, from a node."""
    ssh, work = connect(node), ("CREATE TEMPORARY TABLE polled (n INT)", "INSERT INTO polled VALUES (1)")
    with Poller(lambda: log_in_from(ssh, database, access.user, access.password), access, work) as poller:
        yield poller


def everything_of(database: Database, users: Sequence[str]) -> list[list[tuple[Any, ...]]]:
    """Every row about the users in the server's own tables, as they are stored."""
    names = ", ".join(f"'{user}'" for user in users)
    accounts = "user" if plain_facts(database).server.kind == "mysql" else "global_priv"
    return [
        execute(
            database, f"SELECT * FROM mysql.{table} WHERE User IN ({names}) ORDER BY User, Host", as_text=True
        )
        for table in (accounts, "db", "tables_priv", "columns_priv", "procs_priv")
    ]


def owned(access: SiteAccess) -> str:
    """The one spelling of the access's database in a grant."""
    return escape_pattern(access.database)
