"""Sessions of accounts that are taken back: revoking is not disconnecting, so they are ended.

Neither MySQL nor MariaDB ends a session when its account is locked or dropped: it reads and writes on, for as
long as the client keeps it open (seen on MariaDB 10.11 and MySQL 9.7).
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import closing
from typing import Any

import pymysql
from pymysql.connections import Connection

from tasks.errors import Unreachable
from tasks.fleet import Database
from tasks.grants.connection import error_code, open_admin, translated
from tasks.grants.effective import login_account
from tasks.grants.facts import read_grant_facts
from tasks.grants.values import Account, GrantFacts

LAG_SECONDS = 15
_GONE_ALREADY = 1094
_PAUSE_SECONDS = 0.5


def end_sessions(
    connection: Connection[Any], leaving: Collection[Account], facts: GrantFacts, name: str
) -> int:
    """No session of the accounts in `leaving` is left; return how many were ended.

    To be called when they are locked, so that there are no new ones. `facts` are of before: of a user of whom
    no account stays every session is ended, of others those whose login is taken as an account that leaves.
    One that the server shows under a name instead of an address is none of these. Raises AccessDenied where
    the administering account may not end sessions of others (CONNECTION ADMIN, see setup_sql).
    """
    users = {account.user for account in leaving}
    staying = {there.account.user for there in facts.accounts if there.account not in leaving}
    ended = 0
    with translated(name, "end sessions of accounts that leave"), connection.cursor() as cursor:
        cursor.execute("SHOW PROCESSLIST")
        for session, user, client, *_ in cursor.fetchall():
            address = str(client).rpartition(":")[0].lower().removeprefix("::ffff:")
            taken_as = login_account(facts.accounts, user, address, facts.server)
            if user in users and (user not in staying or taken_as in leaving):
                ended += _end(connection, int(session))
    return ended


def end_sessions_on_reader(reader: Database, leaving: Collection[Account], facts: GrantFacts) -> int:
    """No session of the accounts in `leaving` is left on a replica or another member; return how many were.

    Waits until it has heard that they are locked: before, who is thrown out logs in again. Raises Unreachable
    when it has not within 15 s, or does not answer.
    """
    ends = time.monotonic() + LAG_SECONDS
    with closing(open_admin(reader)) as connection:
        while open_still := _unlocked(leaving, read_grant_facts(connection, reader.name)):
            if time.monotonic() > ends:
                raise Unreachable(
                    reader.name, f"it has not heard in {LAG_SECONDS} s that {open_still} leaves"
                )
            time.sleep(_PAUSE_SECONDS)
        return end_sessions(connection, leaving, facts, reader.name)


def _unlocked(leaving: Collection[Account], facts: GrantFacts) -> Account | None:
    there = (found for found in facts.accounts if found.account in leaving and not found.locked)
    return next((found.account for found in there), None)


def _end(connection: Connection[Any], session: int) -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("KILL CONNECTION %s", (session,))
    except pymysql.MySQLError as error:
        if error_code(error) == _GONE_ALREADY:
            return False
        raise
    return True
