"""Which sites have exactly what they should: nearly all of them, in nearly every run.

Deciding that takes two passes over the rows and no table. What differs is compared with pandas, which takes
most of a second to import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tasks.grants.passwords import NATIVE, native_digest
from tasks.grants.spelling import grant_pattern
from tasks.grants.values import AccountFacts, GrantFacts, SiteAccess


def leave_out_settled(
    desired: Sequence[SiteAccess], actual: GrantFacts, *, thorough: bool
) -> tuple[tuple[SiteAccess, ...], GrantFacts]:
    """Return the sites in whose accounts or rights anything may differ, and the facts of those alone.

    A site that is left out has accounts at its hosts and nowhere else, all of them ours and unlocked, with
    one password that is the right one as far as that can be known without computing a salted digest, and
    each with one row of rights, which is the wanted one.
    """
    accounts: dict[str, dict[str, AccountFacts]] = {access.user: {} for access in desired}
    rights: dict[str, dict[tuple[str, str], frozenset[str]]] = {access.user: {} for access in desired}
    for facts in actual.accounts:
        if (known := accounts.get(facts.account.user)) is not None:
            known[facts.account.host] = facts
    for row in actual.rights:
        if (held := rights.get(row.account.user)) is not None:
            held[row.account.host, row.pattern] = row.privileges
    rest = tuple(
        access
        for access in desired
        if not (
            _has_its_rights(access, rights[access.user], grant_pattern(access.database, actual.server))
            and _has_its_accounts(access, accounts[access.user], thorough=thorough)
        )
    )
    users = {access.user for access in rest}
    return rest, replace(
        actual,
        accounts=tuple(facts for facts in actual.accounts if facts.account.user in users),
        rights=tuple(row for row in actual.rights if row.account.user in users),
    )


def _has_its_rights(
    access: SiteAccess, rights: Mapping[tuple[str, str], frozenset[str]], pattern: str
) -> bool:
    wanted = frozenset(access.privileges)
    return rights.keys() == {(host, pattern) for host in access.hosts} and all(
        held == wanted for held in rights.values()
    )


def _has_its_accounts(access: SiteAccess, accounts: Mapping[str, AccountFacts], *, thorough: bool) -> bool:
    if accounts.keys() != set(access.hosts):
        return False
    if any(facts.locked or facts.others or not facts.managed for facts in accounts.values()):
        return False
    natives = {f.digest.get_secret_value().upper() for f in accounts.values() if f.plugin == NATIVE}
    salted = {f.digest.get_secret_value() for f in accounts.values() if f.plugin != NATIVE}
    if natives and natives != {native_digest(access.password)}:
        return False
    return not salted or (len(salted) == 1 and not thorough)
