"""Who may do what on a database server, in a constant number of queries however many accounts there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import SecretStr
from pymysql.connections import Connection
from pymysql.cursors import DictCursor

from tasks.errors import PlanRefused
from tasks.grants.connection import translated
from tasks.grants.values import MARKER_ROLE, Account, AccountFacts, DatabaseRights, GrantFacts, ServerFacts

Row = Mapping[str, Any]

_VARIABLES = ("partial_revokes", "skip_name_resolve", "read_only")
# Columns of mysql.db whose names are not the privilege's.
_PRIVILEGE_NAMES = {"Create_tmp_table": "CREATE TEMPORARY TABLES", "Grant": "GRANT OPTION"}


def parse_server(version: str, comment: str, variables: Mapping[str, str]) -> ServerFacts:
    """Return what kind of server it is. Both names are looked at: packagers change the comment."""
    kind = "mariadb" if "mariadb" in f"{version} {comment}".lower() else "mysql"
    return ServerFacts(
        kind="mariadb" if kind == "mariadb" else "mysql",
        version=version,
        literal_names=variables.get("partial_revokes", "OFF") == "ON",
        skips_name_resolve=variables.get("skip_name_resolve", "OFF") == "ON",
        # MariaDB 12 has more values than ON; whatever is not OFF keeps somebody from writing.
        read_only=variables.get("read_only", "OFF") != "OFF",
    )


def parse_accounts(users: Iterable[Row], edges: Iterable[Row]) -> tuple[AccountFacts, ...]:
    """Return the accounts of mysql.user, without roles; `edges` tell who holds our mark."""
    marked = {Account(edge["user"], edge["host"]) for edge in edges}
    return tuple(
        AccountFacts(
            account=Account(_text(row["User"]), _text(row["Host"])),
            managed=Account(_text(row["User"]), _text(row["Host"])) in marked,
            plugin=_text(row.get("plugin")),
            digest=SecretStr(_text(row.get("authentication_string") or row.get("Password"))),
        )
        for row in users
        if row.get("is_role", "N") != "Y" and _text(row["User"]) != MARKER_ROLE
    )


def parse_rights(rows: Iterable[Row]) -> tuple[DatabaseRights, ...]:
    """Return the rows of mysql.db with the privileges by their SQL names."""
    return tuple(
        DatabaseRights(
            account=Account(_text(row["User"]), _text(row["Host"])),
            pattern=_text(row["Db"]),
            privileges=frozenset(_privilege(name) for name, value in row.items() if _is_given(name, value)),
        )
        for row in rows
    )


def read_grant_facts(connection: Connection[Any], server: str) -> GrantFacts:
    """Return all accounts, database rights, marks and databases of the server called `server`.

    Raises PlanRefused when the account cannot see others' rows: an empty answer would read as "nothing is
    granted yet". Raises Unreachable and AccessDenied.
    """
    with translated(server, "read accounts and grants"), connection.cursor(DictCursor) as cursor:
        head = _rows(
            cursor, "SELECT VERSION() AS version, @@version_comment AS comment, CURRENT_USER() AS me"
        )[0]
        variables = _rows(cursor, "SHOW GLOBAL VARIABLES WHERE Variable_name IN %s", _VARIABLES)
        facts = parse_server(
            head["version"], head["comment"], {row["Variable_name"]: row["Value"] for row in variables}
        )
        users = _rows(cursor, "SELECT * FROM mysql.user")
        edges = _rows(cursor, _EDGES[facts.kind], MARKER_ROLE)
        rights = _rows(cursor, "SELECT * FROM mysql.db")
        databases = _rows(cursor, "SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA")
    user, _, host = head["me"].rpartition("@")
    accounts = parse_accounts(users, (edge for edge in edges if not edge["is_admin"]))
    _refuse_blind_reader(Account(user, host), accounts, server)
    return GrantFacts(
        server=facts,
        me=Account(user, host),
        accounts=accounts,
        rights=parse_rights(rights),
        databases=frozenset(row["name"] for row in databases),
        has_marker=any(_text(row["User"]) == MARKER_ROLE for row in users),
    )


# On MariaDB whoever creates a role holds it WITH ADMIN: that makes an administrator, not an account of ours.
_EDGES = {
    "mariadb": "SELECT User AS user, Host AS host, Admin_option = 'Y' AS is_admin"
    " FROM mysql.roles_mapping WHERE Role = %s",
    "mysql": "SELECT TO_USER AS user, TO_HOST AS host, WITH_ADMIN_OPTION = 'Y' AS is_admin"
    " FROM mysql.role_edges WHERE FROM_USER = %s",
}


def _rows(cursor: DictCursor, query: str, *values: object) -> tuple[dict[str, Any], ...]:
    cursor.execute(query, values or None)
    return tuple(cursor.fetchall())


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _is_given(column: str, value: object) -> bool:
    return column.endswith("_priv") and value == "Y"


def _privilege(column: str) -> str:
    name = column.removesuffix("_priv")
    return _PRIVILEGE_NAMES.get(name, name.replace("_", " ").upper())


def _refuse_blind_reader(me: Account, accounts: tuple[AccountFacts, ...], server: str) -> None:
    seen = {facts.account for facts in accounts}
    if me not in seen or len(seen) < 2:  # a server has at least its own internal account besides
        raise PlanRefused(
            f"{me} cannot see the accounts of {server}",
            f"GRANT SELECT ON mysql.* TO {me}, as schema privilege",
        )
