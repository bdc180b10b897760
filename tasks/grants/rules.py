"""What is refused before anything is touched, and what is known about who owns what."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache

from tasks.errors import PlanRefused
from tasks.grants.spelling import escape_pattern, is_spelling_of, stored_name
from tasks.grants.values import (
    MARKER_ROLE,
    STAGING_HOST,
    AccountFacts,
    Desired,
    GrantFacts,
    ServerFacts,
    SiteAccess,
)

_SYSTEM_DATABASES = frozenset({"information_schema", "mysql", "performance_schema", "sys"})
_SYSTEM_USERS = frozenset({"", "root", "mariadb.sys", MARKER_ROLE})
# Whoever has one of these is an administrator, whatever mark it carries.
_POWERS = frozenset({"SUPER", "SYSTEM_USER", "GRANT OPTION", "CREATE USER"})

_UNTIL_SYNCED = "Wait until it has joined its cluster again, or register another member"


def is_protected(facts: AccountFacts) -> bool:
    """Say whether an account is an administrator's, which is never touched and never adopted."""
    return bool(facts.privileges & _POWERS)


def refuse_clashes(desired: Sequence[Desired]) -> None:
    """Raise PlanRefused when two sites are given the same database or the same user."""
    for what in ("database", "user"):
        owner: dict[str, str] = {}
        for access in desired:
            name = getattr(access, what)
            if name in owner:
                raise PlanRefused(f"the {what} {name!r} is given to {owner[name]} and to {access.site}")
            owner[name] = access.site


def refuse_names(access: Desired, actual: GrantFacts) -> None:
    """Raise PlanRefused for a database or user that is the server's own, or that some server cannot have."""
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


def refuse_no_password(access: SiteAccess) -> None:
    """Raise PlanRefused for a site without a password: its accounts would let in whoever knows their name."""
    if not access.password:  # an empty SecretStr is false
        raise PlanRefused(
            f"{access.site} has no database password", "Run add-site for it first, which makes one"
        )


def refuse_hosts(access: SiteAccess) -> None:
    """Raise PlanRefused for anything but exact addresses, and for none at all."""
    if not access.hosts:
        raise PlanRefused(f"no node of {access.site} was seen by the database", "Nothing is granted blindly")
    for host in access.hosts:
        if not _is_canonical_address(host):
            raise PlanRefused(
                f"{host!r} is not one exact address, so {access.site} gets no access from it",
                "Grants are given to addresses that the database saw, never to names or wildcards",
            )


@lru_cache(maxsize=4096)
def _is_canonical_address(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return str(address) == host and host != STAGING_HOST and not address.is_loopback


def refuse_strangers(access: Desired, strangers: Sequence[AccountFacts], *, adopt: bool) -> None:
    """Raise PlanRefused for a namesake that is not ours: unless `adopt`, or for an administrator's."""
    protected = [str(there.account) for there in strangers if is_protected(there)]
    if protected:
        raise PlanRefused(
            f"{', '.join(protected)} may administer the server, so it is never touched",
            f"Give {access.site} another user",
        )
    if strangers and not adopt:
        raise PlanRefused(
            f"ADOPTION_REQUIRED: {', '.join(str(there.account) for there in strangers)} exists and was not "
            "made by Packmaster",
            f"Adopt it (parameter adopt: its password and rights become the site's), or GRANT "
            f"`{MARKER_ROLE}` TO it, or remove it, or give {access.site} another user",
        )


def find_owners(actual: GrantFacts) -> frozenset[str]:
    """Return the users with an account that we finished: the database of their site is ours.

    Whatever it may do there by now, for somebody may have revoked all of it. One that is still being built
    proves nothing, nor does one that is an administrator's by now.
    """
    return frozenset(
        there.account.user
        for there in actual.accounts
        if there.managed and there.account.host != STAGING_HOST and not is_protected(there)
    )


def owned_patterns(actual: GrantFacts) -> Mapping[str, frozenset[str]]:
    """Map every user of ours to the database patterns that its accounts have rights on."""
    ours = {there.account for there in actual.accounts if there.managed}
    found: dict[str, set[str]] = {}
    for row in actual.rights:
        if row.account in ours:
            found.setdefault(row.account.user, set()).add(row.pattern)
    return {user: frozenset(patterns) for user, patterns in found.items()}


def refuse_foreign_database(access: Desired, patterns: frozenset[str], server: ServerFacts) -> None:
    """Raise PlanRefused when none of `patterns`, which the site's accounts have, is its existing database."""
    if not any(is_spelling_of(pattern, stored_name(access.database, server)) for pattern in patterns):
        raise PlanRefused(
            f"ADOPTION_REQUIRED: the database {access.database!r} exists, and no account of ours may use it",
            f"Adopt it (parameter adopt), give {access.site} another one, or remove this one if it is a "
            "left-over",
        )


def refuse_cut_off(server: ServerFacts, name: str) -> None:
    """Raise PlanRefused for a Galera member that shows nobody its tables: it lost its cluster or joins it."""
    if server.cut_off:
        raise PlanRefused(f"the Galera state of {name} is {server.galera}, not Primary/Synced", _UNTIL_SYNCED)


def refuse_server(server: ServerFacts) -> None:
    """Raise PlanRefused for a server that does not take writes, or must not be written to."""
    if server.read_only:
        raise PlanRefused("the database server is read-only", "Register the server that takes writes")
    if server.follows:
        raise PlanRefused(
            "the database server is set up to replicate from another one",
            "Register that one. If this one took over from it for good, RESET REPLICA ALL here",
        )
    if server.galera and server.galera != "Primary/Synced":
        raise PlanRefused(
            f"the database server's Galera state is {server.galera}, not Primary/Synced",
            _UNTIL_SYNCED,
        )
