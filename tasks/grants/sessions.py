"""Sessions of accounts that are taken back: revoking is not disconnecting, so they are ended.

Neither MySQL nor MariaDB ends a session when its account is locked or dropped: it reads and writes on, for as
long as the client keeps it open (seen on MariaDB 10.11 and MySQL 9.7).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pymysql
from pymysql.connections import Connection

from tasks.grants.connection import error_code, translated
from tasks.grants.effective import login_account
from tasks.grants.values import Account, GrantFacts

_GONE_ALREADY = 1094


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


def _end(connection: Connection[Any], session: int) -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("KILL CONNECTION %s", (session,))
    except pymysql.MySQLError as error:
        if error_code(error) == _GONE_ALREADY:
            return False
        raise
    return True
