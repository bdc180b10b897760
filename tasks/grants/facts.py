"""Who may do what on a database server, in a constant number of queries however many accounts there are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pymysql
from pydantic import SecretStr
from pymysql.connections import Connection

from tasks.errors import PlanRefused
from tasks.grants import queries
from tasks.grants.connection import error_code, translated, without_collections
from tasks.grants.rules import refuse_cut_off
from tasks.grants.values import (
    MARKER_ROLE,
    Account,
    AccountFacts,
    DatabaseRights,
    GrantFacts,
    ObjectRights,
    ServerFacts,
)

Row = tuple[Any, ...]
Ask = Callable[[str], tuple[Row, ...]]

# Columns of mysql.db whose names are not the privilege's.
_PRIVILEGE_NAMES = {"Create_tmp_table": "CREATE TEMPORARY TABLES", "Grant": "GRANT OPTION"}
# MariaDB keeps global privileges as bits. Those that make an account one that is never touched have names
# here (sql/privilege.h), the others are only known to be there.
_BITS = {1 << 10: "GRANT OPTION", 1 << 15: "SUPER", 1 << 25: "CREATE USER"}


def parse_server(
    version: str, comment: str, variables: Mapping[str, str], status: Mapping[str, str] | None = None
) -> ServerFacts:
    """Return what kind of server it is. Both names are looked at: packagers change the comment."""
    found = status or {}
    on_cluster = variables.get("wsrep_on", "OFF") == "ON"
    return ServerFacts(
        kind="mariadb" if "mariadb" in f"{version} {comment}".lower() else "mysql",
        version=version,
        literal_names=variables.get("partial_revokes", "OFF") == "ON",
        skips_name_resolve=variables.get("skip_name_resolve", "OFF") == "ON",
        # MariaDB 12 has more values than ON; whatever is not OFF keeps somebody from writing.
        read_only=any(variables.get(name, "OFF") != "OFF" for name in ("read_only", "super_read_only")),
        folds_case=variables.get("lower_case_table_names", "0") != "0",
        sql_mode=variables.get("sql_mode", ""),
        activates_roles=variables.get("activate_all_roles_on_login", "OFF") == "ON",
        follows=found.get("Slave_running", "OFF") == "ON",
        galera="/".join(found.get(f"wsrep_{name}", "?") for name in ("cluster_status", "local_state_comment"))
        if on_cluster
        else "",
        cut_off=on_cluster and found.get("wsrep_ready", "ON") != "ON",
    )


def parse_mariadb_account(user: str, host: str, text: str) -> AccountFacts | None:
    """Return one row of mysql.global_priv; None for a role. Every method after OR is in `others`."""
    about = json.loads(text)
    if about.get("is_role"):
        return None
    # `{}` in auth_or stands for the method that is outside of it.
    first = (
        str(about.get("plugin") or "mysql_native_password"),
        str(about.get("authentication_string") or ""),
    )
    others = [
        (str(each.get("plugin", "")), SecretStr(str(each.get("authentication_string", ""))))
        for each in about.get("auth_or", ())
        if each
    ]
    access = int(about.get("access") or 0)
    return AccountFacts(
        account=Account(user, host),
        managed=False,
        plugin=first[0],
        digest=SecretStr(first[1]),
        locked=bool(about.get("account_locked")),
        privileges=_names_of_bits(access) if access else frozenset(),
        active_role=bool(about.get("default_role")),
        others=tuple(others),
    )


def parse_mysql_account(row: Row, columns: Sequence[str]) -> AccountFacts:
    """Return one row of mysql.user; `columns` are the names of its flags."""
    user, host, plugin, digest, locked, second, flags = (text_of(value) for value in row)
    return AccountFacts(
        account=Account(user, host),
        managed=False,
        plugin=plugin,
        digest=SecretStr(digest),
        locked=locked == "Y",
        privileges=_names_of_flags(flags, tuple(columns)),
        others=((plugin, SecretStr(second)),) if second else (),
    )


def parse_rights(rows: Iterable[Row], columns: Sequence[str]) -> tuple[DatabaseRights, ...]:
    """Return the rows of mysql.db with the privileges by their SQL names."""
    names = tuple(columns)
    return tuple(
        DatabaseRights(
            Account(text_of(user), text_of(host)), text_of(pattern), _names_of_flags(text_of(flags), names)
        )
        for user, host, pattern, flags in rows
    )


def mark_accounts(
    accounts: Iterable[AccountFacts], roles: Iterable[Row], dynamic: Iterable[Row]
) -> tuple[AccountFacts, ...]:
    """Return the accounts with what they hold: our mark, other roles, and privileges that have no column."""
    held: dict[Account, list[tuple[str, bool, bool]]] = {}
    for user, host, role, admin, default in roles:
        holder = Account(text_of(user), text_of(host))
        held.setdefault(holder, []).append((text_of(role), text_of(admin) == "Y", text_of(default) == "Y"))
    further: dict[Account, set[str]] = {}
    for user, host, name in dynamic:
        further.setdefault(Account(text_of(user), text_of(host)), set()).add(text_of(name))
    return tuple(
        _marked(facts, held.get(facts.account, ()), further.get(facts.account, ()))
        for facts in accounts
        if facts.account.user != MARKER_ROLE
    )


def read_grant_facts(connection: Connection[Any], server: str) -> GrantFacts:
    """Return all accounts, rights, marks and databases of the server called `server`.

    Raises PlanRefused when the account cannot see others' rows: an empty answer would read as "nothing is
    granted yet"; and for a member that its Galera cluster has lost. Raises Unreachable and AccessDenied.
    """
    with translated(server, "read accounts and grants"), connection.cursor() as cursor, without_collections():

        def ask(query: str) -> tuple[Row, ...]:
            cursor.execute(query)
            return tuple(cursor.fetchall())

        about, me = _read_server(ask)
        refuse_cut_off(about, server)
        flags: dict[str, list[str]] = {"db": [], "user": []}
        for table, column in ask(queries.COLUMNS):
            flags[text_of(table)].append(text_of(column))
        if not flags["db"]:
            raise PlanRefused(f"{server} does not show the columns of mysql.db", "GRANT SELECT ON mysql.*")
        accounts, has_marker = _read_accounts(ask, about, flags["user"])
        rights = parse_rights(ask(queries.with_flags(queries.RIGHTS, flags["db"])), flags["db"])
        objects = ask(queries.OBJECTS)
        databases = ask(queries.DATABASES)
    _refuse_blind_reader(me, accounts, server)
    return GrantFacts(
        server=about,
        me=me,
        accounts=accounts,
        rights=rights,
        databases=frozenset(text_of(name) for (name,) in databases),
        has_marker=has_marker,
        objects=tuple(ObjectRights(Account(text_of(u), text_of(h)), text_of(what)) for u, h, what in objects),
    )


def _read_server(ask: Ask) -> tuple[ServerFacts, Account]:
    ((version, comment, me),) = ask(queries.HEAD)
    about = parse_server(version, comment, _mapping(ask(queries.VARIABLES)), _mapping(ask(queries.STATUS)))
    user, _, host = text_of(me).rpartition("@")
    return see_source(ask, about), Account(user, host)


def see_source(ask: Ask, about: ServerFacts) -> ServerFacts:
    """Say whether the server is set up to replicate, also while that is stopped: it goes on some day."""
    if about.kind == "mysql":
        return replace(about, follows=ask(queries.MYSQL_FOLLOWS)[0][0] > 0)
    if about.cut_off:
        return about  # it answers nothing else
    try:
        return replace(about, follows=bool(ask(queries.MARIADB_FOLLOWS)))
    except pymysql.MySQLError as error:
        if error_code(error) != 1227:  # without REPLICA MONITOR
            raise
        return replace(about, shows_source=False)


def _read_accounts(ask: Ask, about: ServerFacts, flags: list[str]) -> tuple[tuple[AccountFacts, ...], bool]:
    if about.kind == "mysql":
        rows = ask(queries.with_flags(queries.MYSQL_ACCOUNTS, flags))
        found = [parse_mysql_account(row, flags) for row in rows]
        marked = mark_accounts(found, ask(queries.MYSQL_ROLES), ask(queries.MYSQL_DYNAMIC))
    else:
        rows = ask(queries.MARIADB_ACCOUNTS)
        parsed = (parse_mariadb_account(*(text_of(value) for value in row)) for row in rows)
        marked = mark_accounts([each for each in parsed if each], ask(queries.MARIADB_ROLES), ())
    return marked, any(text_of(row[0]) == MARKER_ROLE for row in rows)


def _marked(
    facts: AccountFacts, held: Sequence[tuple[str, bool, bool]], further: Iterable[str]
) -> AccountFacts:
    if not held and not further:
        return facts
    return replace(
        facts,
        managed=any(role == MARKER_ROLE and not admin and not default for role, admin, default in held),
        roles=tuple(sorted({role for role, _, _ in held if role != MARKER_ROLE})),
        active_role=facts.active_role or any(default for _, _, default in held),
        privileges=facts.privileges.union(further),
    )


@lru_cache(maxsize=1024)
def _names_of_flags(flags: str, columns: tuple[str, ...]) -> frozenset[str]:
    return frozenset(_privilege(name) for name, flag in zip(columns, flags, strict=True) if flag == "Y")


def _privilege(column: str) -> str:
    name = column.removesuffix("_priv")
    return _PRIVILEGE_NAMES.get(name, name.replace("_", " ").upper())


@lru_cache(maxsize=1024)
def _names_of_bits(access: int) -> frozenset[str]:
    named = frozenset(name for bit, name in _BITS.items() if access & bit)
    return named or frozenset({"a global privilege"})


def _mapping(rows: Iterable[Row]) -> dict[str, str]:
    return {text_of(name): text_of(value) for name, value in rows}


def text_of(value: object) -> str:
    """Return a value as text, however the server's column gives it; nothing for NULL."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)


def _refuse_blind_reader(me: Account, accounts: tuple[AccountFacts, ...], server: str) -> None:
    seen = {facts.account for facts in accounts}
    if me not in seen or len(seen) < 2:  # a server has at least its own internal account besides
        raise PlanRefused(
            f"{me} cannot see the accounts of {server}",
            f"GRANT SELECT ON mysql.* TO {me}, as schema privilege",
        )
