"""What applies to a site's logins beside its own accounts: wildcard hosts, networks, anonymous accounts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.grants.effective import (
    applied_rights,
    host_matches,
    is_exact,
    login_account,
    pattern_matches,
)
from tasks.grants.spelling import grant_pattern, stored_name
from tasks.grants.values import (
    STAGING_HOST,
    Account,
    AccountFacts,
    DatabaseRights,
    GrantFacts,
    SiteAccess,
)

DriftKind = Literal[
    "MISSING",
    "EXTRA",
    "WRONG_HASH",
    "SHADOWED",
    "BROADER",
    "DUP_ROW",
    "UNESCAPED",
    "LOCKED",
    "STALE_HOST",
    "REPLICA_MISSING",
    "ADOPTION_REQUIRED",
]


# As MariaDB stores what is granted TO PUBLIC; its roles have no host either.
PUBLIC = Account("PUBLIC", "")


@dataclass(frozen=True, slots=True, order=True)
class DriftRow:
    """One difference. `host` is the address that it is about, empty where it is about the whole site."""

    site: str
    kind: DriftKind
    account: str
    detail: str
    host: str = ""
    server: str = ""


@dataclass(frozen=True, slots=True)
class _Relevant:
    """The accounts and rights that decide about one user's logins."""

    accounts: tuple[AccountFacts, ...]
    rights: tuple[DatabaseRights, ...]


def is_broad(account: Account) -> bool:
    """Say whether an account takes logins from more than one address, or of more than one user."""
    return not account.user or not account.host or "/" in account.host or not is_exact(account.host)


def find_exposure(sites: Sequence[SiteAccess], actual: GrantFacts) -> Iterator[DriftRow]:
    """Yield SHADOWED where another account or row decides than the planned one, and BROADER for rights on a
    site's database that are not bound to one address; nothing where only exact accounts exist.
    """
    yield from _public(sites, actual)
    users = {access.user for access in sites} | {""}
    broad = {
        there.account for there in actual.accounts if there.account.user in users and is_broad(there.account)
    }
    if not broad:
        return
    exposed = users if any(not account.user for account in broad) else {account.user for account in broad}
    relevant = {user: _Relevant((), ()) for user in exposed}
    accounts: dict[str, list[AccountFacts]] = {user: [] for user in exposed}
    rights: dict[str, list[DatabaseRights]] = {user: [] for user in exposed}
    for there in actual.accounts:
        if there.account.user in exposed and there.account.host != STAGING_HOST:
            accounts[there.account.user].append(there)
    for row in actual.rights:
        if row.account.user in exposed and row.account.host != STAGING_HOST:
            rights[row.account.user].append(row)
    nobody = accounts.get("", []), rights.get("", [])
    for access in sites:
        if access.user in exposed:
            relevant[access.user] = _Relevant(
                (*accounts[access.user], *nobody[0]), (*rights[access.user], *nobody[1])
            )
            yield from _broader(access, relevant[access.user], actual)
            for host in sorted(access.hosts):
                yield from _shadowed(access, host, relevant[access.user], actual)


def _public(sites: Sequence[SiteAccess], actual: GrantFacts) -> Iterator[DriftRow]:
    """What MariaDB lets every account do, whoever it belongs to: no account of its own stands for it."""
    given = [row for row in actual.rights if row.account == PUBLIC and actual.server.kind == "mariadb"]
    for access in sites if given else ():
        database = stored_name(access.database, actual.server)
        for row in given:
            if pattern_matches(row.pattern, database, actual.server):
                detail = f"every account may {', '.join(sorted(row.privileges))} on {row.pattern!a}"
                yield DriftRow(access.site, "BROADER", "PUBLIC", detail)


def _broader(access: SiteAccess, there: _Relevant, actual: GrantFacts) -> Iterator[DriftRow]:
    database = stored_name(access.database, actual.server)
    for row in there.rights:
        if is_broad(row.account) and pattern_matches(row.pattern, database, actual.server):
            who = "everybody" if not row.account.user else f"{row.account.user} from {row.account.host!a}"
            detail = f"{who} may {', '.join(sorted(row.privileges))} on {row.pattern!a}"
            yield DriftRow(access.site, "BROADER", str(row.account), detail)
    for facts in there.accounts:
        if facts.account.user and is_broad(facts.account) and facts.privileges:
            detail = f"may {', '.join(sorted(facts.privileges))} on everything"
            yield DriftRow(access.site, "BROADER", str(facts.account), detail)


def _shadowed(access: SiteAccess, host: str, there: _Relevant, actual: GrantFacts) -> Iterator[DriftRow]:
    server, planned = actual.server, Account(access.user, host)
    taken = login_account(there.accounts, access.user, host, server)
    if taken is not None and taken != planned:
        exists = any(facts.account == planned for facts in there.accounts)
        detail = f"logins are taken as {taken}" + ("" if exists else " as long as this account is missing")
        yield DriftRow(access.site, "SHADOWED", str(planned), detail, host)
        return
    database = stored_name(access.database, server)
    rights = (
        [row for row in there.rights if row.account == planned]
        if _ignores_others(planned, there, actual)
        else there.rights
    )
    applied = applied_rights(rights, access.user, host, database, server)
    pattern = grant_pattern(access.database, server)
    if applied is None:
        return
    if (applied.account, applied.pattern) != (planned, pattern):
        detail = f"what applies is the right of {applied.account} on {applied.pattern!a}"
        yield DriftRow(access.site, "SHADOWED", str(planned), detail, host)
        return
    for row in there.rights:
        fits = host_matches(row.account.host, host, server) and pattern_matches(row.pattern, database, server)
        hidden = sorted((row.privileges & set(access.privileges)) - applied.privileges)
        if fits and hidden:
            detail = (
                f"its own row takes {', '.join(hidden)} away, which {row.account} on {row.pattern!a} gives"
            )
            yield DriftRow(access.site, "SHADOWED", str(planned), detail, host)


def _ignores_others(planned: Account, there: _Relevant, actual: GrantFacts) -> bool:
    """Say whether only the account's own rows count: on MySQL, while a role is active."""
    if actual.server.kind != "mysql":
        return False
    own = [facts for facts in there.accounts if facts.account == planned]
    holds_role = any(facts.managed or facts.roles for facts in own)
    return any(facts.active_role for facts in own) or (actual.server.activates_roles and holds_role)
