"""A database as SQL text, streamed from one consistent snapshot.

Written here, and not by a client program: the controller then needs no package, MariaDB and MySQL are read
alike, the password is in no argument and no file, and the rows can be counted while they are written. The
result loads with any client (`mariadb NAME <dump.sql`). One row is one line, so that it can be checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from pymysql.connections import Connection
from pymysql.cursors import DictCursor, SSCursor

from tasks.errors import PlanRefused
from tasks.fleet import Database
from tasks.grants.connection import open_admin, translated
from tasks.grants.statements import quote_identifier as quote

COMPLETE = b"-- packmaster: this dump is complete\n"
PROGRAM = b"DELIMITER ;;\n"

_BATCH_BYTES = 512 * 1024  # of one INSERT; servers take 1 MiB even in their smallest configuration
_UNQUOTED = frozenset(
    {"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year"}
)
_ESCAPES = str.maketrans({"\\": "\\\\", "'": "\\'", "\0": "\\0", "\n": "\\n", "\r": "\\r", "\x1a": "\\Z"})
_OPENING = """-- packmaster: {name}
SET NAMES utf8mb4;
SET SESSION time_zone = '+00:00', foreign_key_checks = 0, unique_checks = 0;
SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO';
"""
# Everything is read as of one moment; tables that are not transactional are read as they are.
_SNAPSHOT = (
    "SET SESSION sql_mode = ''",
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT",
)


@dataclass(frozen=True, slots=True)
class Dumped:
    """What a dump holds: rows by table, and the names of everything else."""

    rows: dict[str, int] = field(default_factory=dict)
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    kind: str
    generated: bool

    @property
    def expression(self) -> str:
        # The server prints a FLOAT with 6 digits; as a DOUBLE it comes back as the very same FLOAT.
        return f"{quote(self.name)} * 1e0" if self.kind == "float" else quote(self.name)


def dump_database(database: Database, name: str, sink: BinaryIO) -> Dumped:
    """Write the whole of database `name` to `sink`: tables, views, triggers, routines and events.

    Raises PlanRefused for what it could not write faithfully (sequences, history of versioned tables).
    """
    with (
        closing(open_admin(database, values_as_text=True)) as connection,
        translated(database.name, f"dump {name}"),
    ):
        connection.select_db(name)
        with connection.cursor() as cursor:
            for statement in _SNAPSHOT:
                cursor.execute(statement)
        return _write(connection, name, sink)


def _write(connection: Connection[Any], name: str, sink: BinaryIO) -> Dumped:
    tables, views = _tables(connection, name), []
    columns = _columns(connection, name)
    sink.write(_OPENING.format(name=name).encode())
    rows: dict[str, int] = {}
    for table, kind in tables:
        if kind == "VIEW":
            views.append(table)
            # Stands in until every view exists, for a view may use others.
            fields = ", ".join(f"1 AS {quote(column.name)}" for column in columns[table])
            _statement(sink, f"CREATE VIEW {quote(table)} AS SELECT {fields}")
        elif kind == "BASE TABLE":
            _statement(sink, _show(connection, "TABLE", table)["Create Table"])
            rows[table] = _write_rows(connection, table, columns[table], sink)
        else:
            raise PlanRefused(f"{name}.{table} is a {kind.lower()}, which cannot be backed up faithfully")
    programs = [*_write_programs(connection, name, sink)]
    for view in views:
        text = str(_show(connection, "VIEW", view)["Create View"])
        _statement(sink, f"CREATE OR REPLACE {text.removeprefix('CREATE ')}")
    sink.write(COMPLETE)
    return Dumped(rows, tuple(f"view {view}" for view in views) + tuple(programs))


def _query(connection: Connection[Any], query: str, *values: str) -> list[dict[str, Any]]:
    with connection.cursor(DictCursor) as cursor:
        cursor.execute(query, values or None)
        return list(cursor.fetchall())


def _tables(connection: Connection[Any], name: str) -> list[tuple[str, str]]:
    rows = _query(
        connection,
        "SELECT TABLE_NAME AS t, TABLE_TYPE AS kind FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = %s ORDER BY TABLE_NAME",
        name,
    )
    return [(row["t"], row["kind"]) for row in rows]


def _columns(connection: Connection[Any], name: str) -> dict[str, list[_Column]]:
    rows = _query(
        connection,
        "SELECT TABLE_NAME AS t, COLUMN_NAME AS c, DATA_TYPE AS kind, GENERATION_EXPRESSION AS made"
        " FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s ORDER BY TABLE_NAME, ORDINAL_POSITION",
        name,
    )
    found: dict[str, list[_Column]] = {}
    for row in rows:
        found.setdefault(row["t"], []).append(
            _Column(row["c"], _text(row["kind"]).lower(), bool(row["made"]))
        )
    return found


def _show(connection: Connection[Any], kind: str, name: str) -> dict[str, Any]:
    return _query(connection, f"SHOW CREATE {kind} {quote(name)}")[0]


def _write_rows(connection: Connection[Any], table: str, columns: list[_Column], sink: BinaryIO) -> int:
    stored = [column for column in columns if not column.generated]
    names = ", ".join(quote(column.name) for column in stored)
    expressions = ", ".join(column.expression for column in stored)
    count = size = 0
    with connection.cursor(SSCursor) as cursor:
        cursor.execute(f"SELECT {expressions} FROM {quote(table)}")  # noqa: S608 - quoted identifiers
        for row in cursor.fetchall_unbuffered():
            line = f"({', '.join(_literals(row, stored))})".encode()
            opening = f"INSERT INTO {quote(table)} ({names}) VALUES\n".encode()
            if count and size < _BATCH_BYTES:
                opening = b",\n"
            elif count:
                opening, size = b";\n" + opening, 0
            size += sink.write(opening + line)
            count += 1
    sink.write(b";\n" if count else b"")
    return count


def _literals(row: Iterable[Any], columns: list[_Column]) -> Iterator[str]:
    for value, column in zip(row, columns, strict=True):
        if value is None:
            yield "NULL"
        elif isinstance(value, bytes):
            yield f"0x{value.hex()}" if value else "''"
        elif column.kind in _UNQUOTED:
            yield str(value)
        else:
            yield f"'{str(value).translate(_ESCAPES)}'"


def _write_programs(connection: Connection[Any], name: str, sink: BinaryIO) -> Iterator[str]:
    """Write routines first, for triggers, events and views may call them."""
    queries = (
        "SELECT ROUTINE_TYPE AS kind, ROUTINE_NAME AS n FROM information_schema.ROUTINES"
        " WHERE ROUTINE_SCHEMA = %s ORDER BY 1, 2",
        "SELECT 'TRIGGER' AS kind, TRIGGER_NAME AS n FROM information_schema.TRIGGERS"
        " WHERE TRIGGER_SCHEMA = %s ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING,"
        " EVENT_MANIPULATION, ACTION_ORDER",
        "SELECT 'EVENT' AS kind, EVENT_NAME AS n FROM information_schema.EVENTS"
        " WHERE EVENT_SCHEMA = %s ORDER BY 2",
    )
    for query in queries:
        for found in _query(connection, query, name):
            kind, program = _text(found["kind"]).upper(), found["n"]
            shown = _show(connection, kind, program)
            text = shown.get("SQL Original Statement") or shown.get(f"Create {kind.capitalize()}")
            if not text:
                raise PlanRefused(
                    f"the account cannot read the {kind.lower()} {program}", "Give it SHOW CREATE"
                )
            sink.write(_as_it_was_made(shown) + PROGRAM)
            sink.write(f"{text} ;;\nDELIMITER ;\n".encode())
            yield f"{kind.lower()} {program}"
    sink.write(b"SET NAMES utf8mb4;\nSET SESSION sql_mode = '', time_zone = '+00:00';\n")


def _as_it_was_made(shown: dict[str, Any]) -> bytes:
    """Return the settings that a program, trigger or event keeps from the session that creates it."""
    mode = _text(shown["sql_mode"]).translate(_ESCAPES)
    zone = _text(shown.get("time_zone", "+00:00")).translate(_ESCAPES)
    collation = _text(shown["collation_connection"])
    names = f"utf8mb4 COLLATE {collation}" if collation.startswith("utf8mb4_") else "utf8mb4"
    return f"SET NAMES {names};\nSET SESSION sql_mode = '{mode}', time_zone = '{zone}';\n".encode()


def _statement(sink: BinaryIO, text: str) -> None:
    sink.write(f"{text};\n".encode())


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
