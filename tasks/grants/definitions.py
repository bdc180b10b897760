"""What would break with an account: the views, triggers, routines and events that run with its rights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pymysql.connections import Connection

from tasks.grants import queries
from tasks.grants.connection import translated
from tasks.grants.facts import text_of
from tasks.grants.values import Account, Definition, GrantFacts

_DATABASES_AT_A_TIME = 50


def read_definitions(
    connection: Connection[Any], facts: GrantFacts, databases: Iterable[str], server: str
) -> GrantFacts:
    """Return `facts` with the views, triggers, routines and events of `databases`, and who defined them.

    One query for each fifty databases; asked only where an account is about to be dropped. Raises
    Unreachable and AccessDenied.
    """
    names = sorted(set(databases) & facts.databases)
    found: list[Definition] = []
    with translated(server, "read what accounts define"), connection.cursor() as cursor:
        for start in range(0, len(names), _DATABASES_AT_A_TIME):
            some = names[start : start + _DATABASES_AT_A_TIME]
            cursor.execute(queries.definitions_query(len(some)), [name for name in some for _ in range(4)])
            for definer, what in cursor.fetchall():
                user, _, host = text_of(definer).rpartition("@")
                found.append(Definition(Account(user, host), text_of(what)))
    searched = frozenset(databases)
    return replace(facts, definitions=tuple(sorted(found)), searched=facts.searched | searched)
