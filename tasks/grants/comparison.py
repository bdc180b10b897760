"""What differs between desired and actual access: lists that planner and drift report walk through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.grants.settled import leave_out_settled
from tasks.grants.values import Account, AccountFacts, Desired, GrantFacts, SiteAccess

Privileges = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs, each list in the order of the sites and of their hosts.

    `missing`: no account at a desired host. `strangers`: an account with a desired user's name that does not
    carry our mark, wherever it is. `wrong`: the stored password is another. `uneven`: it is the right one,
    but salted otherwise than at the site's other hosts, so that nobody can see it. `like`: by user, where
    something differs, an account whose stored digest the site's others should have.
    `lacking` and `excess`: rights that are missing at a desired host, and that are too many, by the spelling
    under which they are stored. `stale`: ours, at a host that is not desired. `staged`: left by a killed run.
    """

    missing: tuple[tuple[SiteAccess, Account], ...] = ()
    strangers: tuple[tuple[SiteAccess, AccountFacts], ...] = ()
    wrong: tuple[tuple[SiteAccess, Account], ...] = ()
    uneven: tuple[tuple[SiteAccess, Account], ...] = ()
    locked: tuple[tuple[SiteAccess, Account], ...] = ()
    lacking: tuple[tuple[SiteAccess, Account, Privileges], ...] = ()
    excess: tuple[tuple[SiteAccess, Account, str, Privileges], ...] = ()
    stale: tuple[tuple[SiteAccess, AccountFacts], ...] = ()
    staged: tuple[tuple[SiteAccess, AccountFacts], ...] = ()
    like: Mapping[str, Account] = field(default_factory=dict)


def compare(desired: Sequence[SiteAccess], actual: GrantFacts, *, thorough: bool = False) -> Comparison:
    """Return what differs between `desired` and `actual`, in time that hardly grows with what is equal.

    Where the server salts passwords, a digest takes 10 ms to compute: it is done where those of a site's
    hosts differ, and with `thorough` for every site. Otherwise equal bytes are taken for the right ones, as
    which a login proves them.
    """
    rest, their_facts = leave_out_settled(desired, actual, thorough=thorough)
    if not rest:
        return Comparison()
    # It brings pandas, most of a second that a night without a difference has no use for.
    from tasks.grants.compare import compare_tables  # noqa: PLC0415

    return compare_tables(rest, their_facts, thorough=thorough)


def sites_of(desired: Sequence[Desired]) -> tuple[SiteAccess, ...]:
    """Return the accesses that are to be given, in the order in which plans are made."""
    given = (access for access in desired if isinstance(access, SiteAccess))
    return tuple(sorted(given, key=lambda access: (access.site, access.user)))
