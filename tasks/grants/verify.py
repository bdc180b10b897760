"""The proof of a grant: a login from the node, with the site's own credentials."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pymysql
from pymysql.connections import Connection

from tasks.errors import Drift, Unreachable
from tasks.fleet import Database, Node
from tasks.grants.connection import error_code, error_of, log_in_from
from tasks.grants.values import SiteAccess
from tasks.ssh import connect

_DATABASE_DENIED = 1044


def verify_login(node: Node, database: Database, access: SiteAccess) -> str:
    """Log in from `node` as the site would, and return the account that matched (`user@host`).

    It is one of the planned accounts, it can use its database, and it is denied what is not its own: the
    server's `mysql`, and a database whose name it would match if `_` had been granted as a wildcard.
    Raises Drift when one of these is not so, AccessDenied when the login is refused, Unreachable.
    """
    where = f"{database.name} from {node.name}"
    try:
        with closing(log_in_from(connect(node), database, access.user, access.password)) as connection:
            account = _current_account(connection)
            if account not in {f"{access.user}@{host}" for host in access.hosts}:
                raise Drift(
                    f"{where}: the login of {access.site} is taken as {account}, and that is not planned. "
                    f"Planned: {access.user} at {', '.join(access.hosts)}"
                )
            connection.select_db(access.database)
            with connection.cursor() as cursor:
                cursor.execute("SHOW TABLES")
            for foreign in _foreign_databases(access.database):
                _expect_denied(connection, foreign, f"{where}: {account}")
            return account
    except pymysql.MySQLError as error:
        raise error_of(error, where, f"log in as {access.user} and use {access.database}") from None
    except (OSError, EOFError) as lost:
        raise Unreachable(where, str(lost)) from lost


def _current_account(connection: Connection[Any]) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_USER()")
        row = cursor.fetchone()
    return str(row[0]) if row else ""


def _foreign_databases(database: str) -> tuple[str, ...]:
    lookalike = database.replace("_", "x")
    return ("mysql",) if lookalike == database else ("mysql", lookalike)


def _expect_denied(connection: Connection[Any], foreign: str, who: str) -> None:
    # One that does not exist is denied as well (1044), so the sibling need not be there to be asked for.
    try:
        connection.select_db(foreign)
    except pymysql.MySQLError as error:
        if error_code(error) == _DATABASE_DENIED:
            return
        if error_code(error) != 1049:  # unknown database: it would have been let in
            raise
    raise Drift(f"{who} may use {foreign!r}, which is not its own. Look for grants on patterns with % or _")
