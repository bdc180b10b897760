"""Which account a login becomes, and which one row of mysql.db applies to it: the servers' own rules.

The sources: MySQL manual, "Access control, stage 1 and 2", and what MariaDB 10.11 and MySQL 9.7 do, which
tests/nodes/test_grants_effective.py holds this model against.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

from tasks.grants.values import Account, AccountFacts, DatabaseRights, ServerFacts

_Key = tuple[int, int]
_EXACT: _Key = (9, 0)


def host_matches(host: str, address: str, server: ServerFacts) -> bool:
    """Say whether an account at `host` takes a connection from the canonical `address`.

    A name is matched by what DNS says at that moment, which is not known: it never matches here.
    """
    if "/" in host:
        return _net_matches(host, address, cidr=server.kind == "mysql")
    # Names are compared without case, and so are addresses; an expanded IPv6 address equals nothing.
    return bool(_like(host or "%").fullmatch(address.lower()))


def pattern_matches(pattern: str, database: str, server: ServerFacts) -> bool:
    """Say whether a right stored under `pattern` is one on `database`."""
    if server.literal_names:
        return pattern == database
    return bool(_like(pattern, fold=False).fullmatch(database))


def is_exact(pattern: str) -> bool:
    """Say whether a stored database or host pattern has no wildcard left."""
    return not re.search(r"(?<!\\)(?:\\\\)*[%_]", pattern)


def login_account(
    accounts: Iterable[AccountFacts], user: str, address: str, server: ServerFacts
) -> Account | None:
    """Return the account that a login of `user` from `address` is taken as; None when it is refused."""
    fitting = [
        facts.account
        for facts in accounts
        if facts.account.user in {user, ""} and host_matches(facts.account.host, address, server)
    ]
    return max(fitting, key=lambda account: _account_key(account, server), default=None)


def applied_rights(
    rights: Iterable[DatabaseRights], user: str, address: str, database: str, server: ServerFacts
) -> DatabaseRights | None:
    """Return the one row of mysql.db that decides: the most specific that fits, even if it gives less.

    It need not belong to the account that the login is taken as: any row of the same user name whose host
    fits will do, and those of the anonymous user fit everybody.
    """
    fitting = [
        row
        for row in rights
        if row.account.user in {user, ""}
        and host_matches(row.account.host, address, server)
        and pattern_matches(row.pattern, database, server)
    ]

    def specific(row: DatabaseRights) -> tuple[_Key, _Key, bool, bool]:
        exact = server.literal_names or is_exact(row.pattern)
        pattern = _EXACT if exact else _wildcard_key(row.pattern, server)
        host, named, single = _account_key(row.account, server)
        return host, pattern, named, single

    return max(fitting, key=specific, default=None)


def _net_matches(host: str, address: str, *, cidr: bool) -> bool:
    network, _, mask = host.partition("/")
    if mask.isdecimal() and not cidr:
        return False  # MariaDB takes it and never matches it
    try:
        # Strict: with host bits set it matches nothing.
        return ipaddress.ip_address(address) in ipaddress.ip_network(f"{network}/{mask}", strict=True)
    except ValueError:
        return False


def _account_key(account: Account, server: ServerFacts) -> tuple[_Key, bool, bool]:
    """Greater is more specific: the host, then a name rather than none, then an address, not a network."""
    host = account.host
    if "/" not in host:
        return _wildcard_key(host or "%", server), bool(account.user), True
    # MariaDB sorts a network among what is exact, so there the name decides before the address does.
    key = (8, int(host.partition("/")[2].isdecimal())) if server.kind == "mysql" else _EXACT
    return key, bool(account.user), False


def _wildcard_key(pattern: str, server: ServerFacts) -> _Key:
    if is_exact(pattern):
        return _EXACT
    found = re.match(r"(?:\\.|[^%_\\])*", pattern, re.DOTALL)
    if server.kind == "mysql":
        return 1, found.end() if found else 0
    literals = len(re.sub(r"(\\.)|[%_]", r"\1", pattern, flags=re.DOTALL))
    return 1 + ("%" not in re.sub(r"\\.", "", pattern, flags=re.DOTALL)), literals


@lru_cache(maxsize=4096)
def _like(pattern: str, *, fold: bool = True) -> re.Pattern[str]:
    parts = []
    for escaped, plain in re.findall(r"\\(.)|(.)", pattern.lower() if fold else pattern, re.DOTALL):
        parts.append(re.escape(escaped) if escaped else {"%": ".*", "_": "."}.get(plain, re.escape(plain)))
    return re.compile("".join(parts), re.DOTALL)
