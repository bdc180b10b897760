"""The proof of a grant: a login from the node, with the site's own credentials."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from typing import Any

import pymysql
from pymysql.connections import Connection

from tasks.errors import Drift, PackmasterError, Unreachable
from tasks.fleet import Database, Node
from tasks.grants.connection import error_code, error_of, log_in_from
from tasks.grants.statements import quote_identifier
from tasks.grants.values import SiteAccess
from tasks.outcome import Outcome
from tasks.ssh import connect

_DATABASE_DENIED = 1044
_ALLOWED_BUT_NOT_THERE = frozenset({1051, 1146})
_TOLD = 20

# On a table that does not exist: who may gets "no such table", who may not is denied before anybody looks.
# So nothing is read or written, and what is proven is the privilege itself.
_PROOFS = {
    "SELECT": "SELECT 1 FROM {table}",
    "INSERT": "INSERT INTO {table} VALUES (1)",
    "UPDATE": "UPDATE {table} SET a = 1",
    "DELETE": "DELETE FROM {table}",
    "DROP": "DROP TABLE {table}",
    "ALTER": "ALTER TABLE {table} ADD a INT",
}


def verify_login(
    node: Node, database: Database, access: SiteAccess, siblings: Sequence[str] = (), *, alone: bool = True
) -> str:
    """Log in from `node` as the site would, and return the account that matched (`user@host`).

    It is one of the planned accounts, it may read, write, alter and drop in its database, and it is denied
    what is not its own: the server's `mysql`, a database whose name it would match if `_` had been granted
    as a wildcard, and the databases of `siblings`; that is not looked at without `alone`. Nothing is changed
    by looking. Raises Drift when one of these is not so, AccessDenied when the login is refused, Unreachable.
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
            for privilege, proof in _proofs(access):
                _expect_allowed(connection, proof, f"{where}: {account}", privilege)
            for foreign in (*_foreign_databases(access.database), *siblings) if alone else ():
                _expect_denied(connection, foreign, f"{where}: {account}")
            return account
    except pymysql.MySQLError as error:
        raise error_of(error, where, f"log in as {access.user} and use {access.database}") from None
    except (OSError, EOFError) as lost:
        raise Unreachable(where, str(lost)) from lost


def verify_logins(
    node: Node, database: Database, accesses: Sequence[SiteAccess], wide: Collection[str] = ()
) -> Outcome:
    """Do what `verify_login` does for every access, each denied the database of the next one too.

    Those in `wide` are about to lose rights that are too many: what else they reach is not looked at. One
    Outcome for the node, failed when any login was; it names the sites. Raises Unreachable when the
    database does not answer.
    """
    failed: dict[str, PackmasterError] = {}
    for position, access in enumerate(accesses):
        sibling = accesses[position - 1].database
        try:
            siblings = (sibling,) if sibling != access.database else ()
            verify_login(node, database, access, siblings, alone=access.site not in wide)
        except Unreachable:
            raise
        except PackmasterError as failure:
            failed[access.site] = failure
    if failed:
        lines = [f"{site}: {why}" for site, why in list(failed.items())[:_TOLD]]
        lines += [f"and {len(failed) - _TOLD} more"] if len(failed) > _TOLD else []
        head = f"{len(failed)} of {len(accesses)} site(s) cannot use {database.name} as planned: "
        return Outcome(node.name, "check logins", error=head + "\n".join(lines))
    return Outcome(node.name, "check logins", detail=f"{len(accesses)} site(s) reach their databases alone")


def _current_account(connection: Connection[Any]) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_USER()")
        row = cursor.fetchone()
    return str(row[0]) if row else ""


def _proofs(access: SiteAccess) -> Iterator[tuple[str, str]]:
    nowhere = quote_identifier(f"packmaster_nowhere_{secrets.token_hex(8)}")
    for privilege, proof in _PROOFS.items():
        if privilege in access.privileges:
            yield privilege, proof.replace("{table}", nowhere)


def _expect_allowed(connection: Connection[Any], proof: str, who: str, privilege: str) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(proof)
    except pymysql.MySQLError as error:
        if error_code(error) in _ALLOWED_BUT_NOT_THERE:
            return
        if error_code(error) == 1142:
            raise Drift(f"{who} may not {privilege} in its own database") from None
        raise


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
