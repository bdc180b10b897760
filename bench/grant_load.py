"""Thousands of accounts put into a server's own tables at once, as a start for what is measured.

Nobody may do this to a server in use. Made one statement after another, as they are in life, ten thousand
accounts take a quarter of an hour on MariaDB, which sorts all of them again for every new one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from pymysql.connections import Connection

from tasks.grants.digests import CACHING_SHA2, sha2_digest
from tasks.grants.passwords import NATIVE, native_digest
from tasks.grants.spelling import escape_pattern
from tasks.grants.statements import quote_identifier
from tasks.grants.values import MARKER_ROLE, SiteAccess

_ODD_COLUMNS = {"CREATE TEMPORARY TABLES": "Create_tmp_table_priv"}
_TABLES = {
    "mariadb": ("global_priv", "roles_mapping", "db"),
    "mysql": ("user", "role_edges", "db"),
}


def load_accounts(connection: Connection[Any], kind: str, accesses: Sequence[SiteAccess]) -> None:
    """Every site has its database, and its accounts with password, mark and rights."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE IF NOT EXISTS {quote_identifier(MARKER_ROLE)}")
        for access in accesses:
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS {quote_identifier(access.database)}")
        (_load_mariadb if kind == "mariadb" else _load_mysql)(cursor, accesses)
        columns = [
            _ODD_COLUMNS.get(p, f"{p.capitalize().replace(' ', '_')}_priv") for p in accesses[0].privileges
        ]
        _insert(
            cursor,
            f"mysql.db (Host, Db, User, {', '.join(columns)})",
            (
                (host, escape_pattern(a.database), a.user, *("Y" for _ in columns))
                for a in accesses
                for host in a.hosts
            ),
        )
        cursor.execute("COMMIT")
        cursor.execute("FLUSH PRIVILEGES")


def unload_accounts(connection: Connection[Any], kind: str, accesses: Sequence[SiteAccess]) -> None:
    """Nothing of the sites is on the server."""
    users = [(access.user,) for access in accesses]
    with connection.cursor() as cursor:
        for table in _TABLES[kind]:
            column = "TO_USER" if table == "role_edges" else "User"
            cursor.executemany(f"DELETE FROM mysql.{table} WHERE {column} = %s", users)
        cursor.execute("FLUSH PRIVILEGES")
        for access in accesses:
            cursor.execute(f"DROP DATABASE IF EXISTS {quote_identifier(access.database)}")


def _load_mariadb(cursor: Any, accesses: Sequence[SiteAccess]) -> None:
    stored = {
        access.user: json.dumps(
            {"access": 0, "plugin": NATIVE, "authentication_string": native_digest(access.password)}
        )
        for access in accesses
    }
    rows = [(host, access.user) for access in accesses for host in access.hosts]
    _insert(
        cursor, "mysql.global_priv (Host, User, Priv)", ((host, user, stored[user]) for host, user in rows)
    )
    marks = ((host, user, MARKER_ROLE, "N") for host, user in rows)
    _insert(cursor, "mysql.roles_mapping (Host, User, Role, Admin_option)", marks)


def _load_mysql(cursor: Any, accesses: Sequence[SiteAccess]) -> None:
    """What a row of mysql.user needs besides is copied from an account that the server makes."""
    cursor.execute("CREATE USER bench_template@`10.99.255.1` IDENTIFIED BY 'a-template'")
    cursor.execute("SELECT * FROM mysql.user WHERE User = 'bench_template'")
    template = dict(zip((column[0] for column in cursor.description), cursor.fetchone(), strict=True))
    rest = [name for name in template if name not in {"User", "Host", "authentication_string", "plugin"}]
    stored = {access.user: sha2_digest(access.password).get_secret_value() for access in accesses}
    rows = [(access.user, host) for access in accesses for host in access.hosts]
    names = ", ".join(["User", "Host", "authentication_string", "plugin", *rest])
    kept = tuple(template[name] for name in rest)
    _insert(
        cursor,
        f"mysql.user ({names})",
        ((user, host, stored[user], CACHING_SHA2, *kept) for user, host in rows),
    )
    marks = (("%", MARKER_ROLE, host, user, "N") for user, host in rows)
    _insert(cursor, "mysql.role_edges (FROM_HOST, FROM_USER, TO_HOST, TO_USER, WITH_ADMIN_OPTION)", marks)
    cursor.execute("DROP USER bench_template@`10.99.255.1`")


def _insert(cursor: Any, table: str, rows: Iterable[tuple[object, ...]]) -> None:
    values = list(rows)
    # With nothing but places between the brackets, the driver makes one statement of many rows.
    places = ", ".join(["%s"] * len(values[0]))
    cursor.executemany(f"INSERT INTO {table} VALUES ({places})", values)
