"""What is refused before anything is touched, and what is known about who owns what."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence

from tasks.errors import PlanRefused
from tasks.grants.values import (
    MARKER_ROLE,
    STAGING_HOST,
    Account,
    AccountFacts,
    Desired,
    GrantFacts,
    SiteAccess,
    escape_pattern,
)

_SYSTEM_DATABASES = frozenset({"information_schema", "mysql", "performance_schema", "sys"})
_SYSTEM_USERS = frozenset({"", "root", "mariadb.sys", MARKER_ROLE})


def accounts_of(user: str, actual: GrantFacts) -> list[AccountFacts]:
    found = [there for there in actual.accounts if there.account.user == user]
    return sorted(found, key=lambda there: there.account)


def rights_on(database: str, account: Account, actual: GrantFacts) -> dict[str, frozenset[str]]:
    """Map every stored spelling of `database` to what `account` may do under it."""
    spellings = {database, escape_pattern(database)}
    return {r.pattern: r.privileges for r in actual.rights if r.account == account and r.pattern in spellings}


def password_matches(access: SiteAccess, there: AccountFacts) -> bool | None:
    """Say whether the stored digest is that of the password; None where a salted plugin cannot tell.

    mysql_native_password stores `*` and the hexadecimal SHA1(SHA1(password)).
    """
    stored = there.digest.get_secret_value()
    if there.plugin != "mysql_native_password":
        return None
    inner = hashlib.sha1(access.password.get_secret_value().encode()).digest()  # noqa: S324 - the server's format
    return stored.upper() == "*" + hashlib.sha1(inner).hexdigest().upper()  # noqa: S324


def refuse_clashes(desired: Sequence[Desired]) -> None:
    for what in ("database", "user"):
        owner: dict[str, str] = {}
        for access in desired:
            name = getattr(access, what)
            if name in owner:
                raise PlanRefused(f"the {what} {name!r} is given to {owner[name]} and to {access.site}")
            owner[name] = access.site


def refuse_names(access: Desired, actual: GrantFacts) -> None:
    database, user = access.database, access.user
    system = database.lower() in _SYSTEM_DATABASES or database == "test" or database.startswith("test_")
    if not database or len(escape_pattern(database)) > 64 or system:
        raise PlanRefused(
            f"{database!r} cannot be the database of {access.site}",
            "Use at most 64 characters (each _ counts twice), no system database, and nothing like test_...",
        )
    if len(user) > 32 or user in _SYSTEM_USERS or user.startswith("mysql.") or user == actual.me.user:
        raise PlanRefused(
            f"{user!r} cannot be the database user of {access.site}", "Use at most 32 characters of its own"
        )


def refuse_hosts(access: SiteAccess) -> None:
    if not access.hosts:
        raise PlanRefused(f"no node of {access.site} was seen by the database", "Nothing is granted blindly")
    for host in access.hosts:
        if not _is_canonical_address(host):
            raise PlanRefused(
                f"{host!r} is not one exact address, so {access.site} gets no access from it",
                "Grants are given to addresses that the database saw, never to names or wildcards",
            )


def _is_canonical_address(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return str(address) == host and host != STAGING_HOST and not address.is_loopback


def refuse_strangers(access: SiteAccess, actual: GrantFacts) -> None:
    strangers = [
        str(there.account)
        for there in accounts_of(access.user, actual)
        if not there.managed and there.account.host != STAGING_HOST
    ]
    if strangers:
        raise PlanRefused(
            f"ADOPTION_REQUIRED: {', '.join(strangers)} exists and was not made by Packmaster",
            f"Remove it, or GRANT `{MARKER_ROLE}` TO it to hand it over, or give {access.site} another user",
        )
    if access.database in actual.databases:
        refuse_foreign_database(access, actual)


def refuse_foreign_database(access: Desired, actual: GrantFacts) -> None:
    ours = (there.account for there in accounts_of(access.user, actual) if there.managed)
    if not any(rights_on(access.database, account, actual) for account in ours):
        raise PlanRefused(
            f"ADOPTION_REQUIRED: the database {access.database!r} exists, and no account of ours may use it",
            f"Give {access.site} another database, or remove this one if it is a left-over",
        )
