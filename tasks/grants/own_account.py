"""The account that Packmaster itself works with on a database server: what it needs, and nothing else.

What it may give to sites is what it may do itself, on databases whose names begin with `site_` alone: the
server lets nobody give what he has not got (MySQL manual, GRANT). Both servers compare the pattern as it is
written, so it can give the escaped name of one database and no wildcard wider than its own.
"""

from __future__ import annotations

import ipaddress
from typing import Literal

from tasks.errors import PlanRefused
from tasks.grants.statements import quote_account, quote_identifier
from tasks.grants.values import MARKER_ROLE, SITE_PRIVILEGES, Account

ServerKind = Literal["mariadb", "mysql"]

# The databases of sites are called so, see `database_name`.
SITE_DATABASES = r"site\_%"
PLACEHOLDER = "<password>"

_WATCHING = {
    "mariadb": ("BINLOG MONITOR", "REPLICA MONITOR"),
    "mysql": ("REPLICATION CLIENT",),
}
_ENDING_SESSIONS = {
    "mariadb": ("CONNECTION ADMIN", "PROCESS"),
    "mysql": ("CONNECTION_ADMIN", "PROCESS"),
}
_HEAD = {
    "mariadb": """\
-- Packmaster's account on a MariaDB server. To be run by an administrator, once; safe to repeat.
-- MariaDB protects no account from CREATE USER: this one could give root another password, or drop it.
-- Treat its password like root's, and let it in from the controller's address only.
-- Only who made a role may give it: if packmaster_managed exists, run this as the account that made it.""",
    "mysql": """\
-- Packmaster's account on a MySQL server. To be run by an administrator, once; safe to repeat.
-- CREATE USER reaches every account that has not got SYSTEM_USER: give that to those of administrators.
-- Not for a server with partial_revokes=ON, where a pattern of database names is taken literally.""",
}
_PROBE_HEAD = (
    "-- Asked by web servers under which address they are seen. It has no privileges and needs none."
)


def setup_sql(
    kind: ServerKind, user: str, address: str, *, password: str | None = None, tls: bool = False
) -> str:
    """Return the statements that make Packmaster's account, for an administrator to look at and to run.

    Without `password`, `<password>` stands in its place, which no server takes for one. Raises PlanRefused
    for an address that is not one, a name that is no account's, and a password that a string of SQL may not
    hold as it is.
    """
    account = Account(_checked_user(user), _checked_address(address))
    who, role = quote_account(account), quote_identifier(MARKER_ROLE)
    secret = PLACEHOLDER if password is None else f"'{_checked_password(password)}'"
    only_tls = " REQUIRE SSL" if tls else ""
    parts = [
        ("", f"CREATE USER IF NOT EXISTS {who} IDENTIFIED BY {secret}{only_tls}"),
        ("One that exists keeps its password with IF NOT EXISTS.",
         f"ALTER USER {who} IDENTIFIED BY {secret}{only_tls}"),
        ("Holds no rights: it marks the accounts of sites, and no other account is ever changed.",
         f"CREATE ROLE IF NOT EXISTS {role}"),
        ("", f"GRANT {role} TO {who} WITH ADMIN OPTION"),
        ("To make, rename, lock and drop the accounts of sites.", f"GRANT CREATE USER ON *.* TO {who}"),
        ("To see what is granted to whom; one table of it would not be enough.",
         f"GRANT SELECT ON `mysql`.* TO {who}"),
        ("To make and drop the databases of sites, and to give each site what it needs of its own.",
         f"GRANT {', '.join(SITE_PRIVILEGES)} ON {quote_identifier(SITE_DATABASES)}.* TO {who}"
         " WITH GRANT OPTION"),
        ("To know a primary from a replica, and how far a replica is.",
         f"GRANT {', '.join(_WATCHING[kind])} ON *.* TO {who}"),
        ("To end the sessions of an account that was taken back: they would go on.",
         f"GRANT {', '.join(_ENDING_SESSIONS[kind])} ON *.* TO {who}"),
    ]  # fmt: skip
    lines = [line for why, sql in parts for line in ((f"-- {why}",) if why else ()) + (f"{sql};",)]
    return "\n".join([_HEAD[kind], "", *lines, ""])


def probe_sql(user: str, network: str, *, password: str | None = None) -> str:
    """Return the statements that make a probe account, for an administrator to look at and to run.

    It has no privileges, and is let in from the web servers' network, never from everywhere: a web server
    asks it under which address it is seen. The network is written with its mask: MariaDB takes 10.0.0.0/24
    as well, and never matches it. Raises PlanRefused as `setup_sql` does, and for a network of IPv6, which
    neither server has a form for.
    """
    who = quote_account(Account(_checked_user(user), _checked_network(network)))
    secret = PLACEHOLDER if password is None else f"'{_checked_password(password)}'"
    return f"{_PROBE_HEAD}\nCREATE USER IF NOT EXISTS {who} IDENTIFIED BY {secret};\n" + (
        f"ALTER USER {who} IDENTIFIED BY {secret};\n"
    )


def _checked_user(user: str) -> str:
    if not user or len(user) > 32 or not user.isprintable():
        raise PlanRefused(f"{user!a} cannot be the name of an account", "Use 1 to 32 printable characters")
    return user


def _checked_address(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise PlanRefused(
            f"{address!a} is not an address",
            "Name the one address that the database server sees the controller under",
        ) from None


def _checked_network(network: str) -> str:
    try:
        found = ipaddress.ip_network(network)
    except ValueError as wrong:
        raise PlanRefused(f"{network!a} is no network: {wrong}", "Write it as 10.0.0.0/24") from None
    if found.num_addresses == 1:
        return str(found.network_address)
    if found.version == 6 or not found.prefixlen:
        raise PlanRefused(
            f"no account can be let in from {network} and from nowhere else",
            "Name a network of IPv4, such as 10.0.0.0/24, or one address",
        )
    return str(found.with_netmask)


def _checked_password(password: str) -> str:
    # What a backslash means depends on the sql_mode of whoever runs this.
    if len(password) < 12 or not password.isascii() or not password.isprintable() or set("'\\") & {*password}:
        raise PlanRefused(
            "the password for Packmaster's account cannot be used",
            "Use at least 12 printable ASCII characters, without ' and \\",
        )
    return password
