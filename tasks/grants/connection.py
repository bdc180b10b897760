"""Connections to a database server: from here as the administrator, and from a node through its SSH."""

from __future__ import annotations

import gc
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, cast

import pymysql
from pydantic import SecretStr
from pymysql.connections import Connection

from tasks.errors import AccessDenied, CommandFailed, PackmasterError, PlanRefused, Unreachable
from tasks.fleet import Database
from tasks.result import Result
from tasks.ssh import Ssh

CONNECT_SECONDS = 10
READ_SECONDS = 60

# Client errors 2002-2013: no answer. 1040, 1203: too many connections. 1053, 1152, 1927: it is going away.
# 1047: a member that its Galera cluster has lost answers nothing else.
_UNREACHABLE = frozenset(
    {0, 1040, 1047, 1053, 1152, 1158, 1159, 1160, 1161, 1203, 1927, 2002, 2003, 2006, 2013, 2055}
)
_DENIED = frozenset({1044, 1045, 1130, 1142, 1227, 1370, 1410, 1698, 3118, 4151})
_READ_ONLY = frozenset({1290, 1836, 3100})


if TYPE_CHECKING:
    _Base = Connection[pymysql.cursors.Cursor]
else:
    _Base = Connection


class _Connection(_Base):
    """Encrypted where the server can be, its certificate not checked: pymysql's own default.

    It reads all certificates of the machine for that, each time, which takes ten times as long as to log in.
    """

    def _create_ssl_ctx(self, _: object) -> ssl.SSLContext:
        return _encrypt()


@cache
def _encrypt() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@contextmanager
def without_collections() -> Iterator[None]:
    """Python looks for no cycles meanwhile, in the whole process. Rows that are read have none.

    A quarter of the time of reading 10,000 accounts went into walking them again and again.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def error_code(error: pymysql.MySQLError) -> int:
    """Return the server's or client's error number; 0 for a connection that is gone without one."""
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def error_of(error: pymysql.MySQLError, server: str, doing: str) -> PackmasterError:
    """Return the error of our tree that says the same."""
    code = error_code(error)
    text = str(error.args[1]) if len(error.args) > 1 else str(error)
    if code in _UNREACHABLE:
        return Unreachable(server, f"{doing}: {text or 'the connection is gone'}")
    if code in _DENIED:
        return AccessDenied(
            server, f"{doing}: {text} ({code})", "Check the account's password, host and rights."
        )
    if code in _READ_ONLY:
        return PlanRefused(f"{server}: {doing}: {text}", "Register the server that takes writes")
    return CommandFailed(
        Result(server, ("sql", doing), code, b"", text.encode(), 0.0), "the statement failed"
    )


@contextmanager
def translated(server: str, doing: str) -> Iterator[None]:
    """Turn pymysql's errors into ours. `doing` is shown, so it must not hold a secret."""
    try:
        yield
    except pymysql.MySQLError as error:
        # Without the cause: a syntax error quotes the statement it is about.
        raise error_of(error, server, doing) from None
    except (OSError, EOFError) as lost:
        raise Unreachable(server, f"{doing}: {lost}") from lost


def open_admin(database: Database, *, values_as_text: bool = False) -> Connection[pymysql.cursors.Cursor]:
    """Return a connection of the administering account, in autocommit; the caller closes it.

    With `values_as_text` every value comes as the server prints it, or as bytes where it is binary.
    Raises Unreachable (retryable) when nothing answers in 10 s, AccessDenied when the login is refused.
    """
    with translated(database.name, f"log in as {database.admin_user} at {database.endpoint}"):
        return _Connection(
            host=database.host,
            port=database.port,
            user=database.admin_user,
            password=database.admin_password.get_secret_value(),
            charset="utf8mb4",
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            write_timeout=READ_SECONDS,
            conv={} if values_as_text else None,
        )


def log_in_from(
    ssh: Ssh, database: Database, user: str, password: SecretStr
) -> Connection[pymysql.cursors.Cursor]:
    """Return a connection that the database sees as coming from the node; raises pymysql's own errors."""
    channel = ssh.open_tunnel(database.host, database.port, timeout=CONNECT_SECONDS)
    connection = pymysql.Connection(
        user=user,
        password=password.get_secret_value(),
        charset="utf8mb4",
        autocommit=True,
        read_timeout=CONNECT_SECONDS,
        write_timeout=CONNECT_SECONDS,
        # TLS wraps sockets only; as far as the node this is inside SSH.
        ssl_disabled=True,
        defer_connect=True,
    )
    try:
        # A channel has all of a socket that pymysql uses: settimeout, makefile, sendall and close.
        connection.connect(sock=cast("socket.socket", channel))
    finally:
        if not connection.open:
            channel.close()
    return connection
