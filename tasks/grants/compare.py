"""Desired and actual access side by side: one row per site and host, one per right, joined as tables.

The joins are what takes time with ten thousand accounts, so they are pandas; what differs is little.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
from pydantic import SecretStr

from tasks.grants.comparison import Comparison, Privileges
from tasks.grants.digests import sha2_matches
from tasks.grants.passwords import NATIVE, native_digest
from tasks.grants.spelling import grant_pattern
from tasks.grants.values import STAGING_HOST, Account, AccountFacts, GrantFacts, SiteAccess


def compare_tables(desired: Sequence[SiteAccess], actual: GrantFacts, *, thorough: bool) -> Comparison:
    """Return what differs between `desired` and `actual`; see compare."""
    wanted = _wanted_table(desired, actual)
    accounts = _account_table(actual)
    users = {access.user: position for position, access in enumerate(desired)}
    ours = accounts[accounts["user"].isin(users.keys())].assign(site=lambda t: t["user"].map(users))
    both = wanted.merge(ours.drop(columns="site"), on=["user", "host"], how="left")
    present = both[both["row"].notna()].astype({"row": int})
    elsewhere = ours.merge(wanted[["user", "host"]], on=["user", "host"], how="left", indicator="known")
    elsewhere = elsewhere[elsewhere["known"] == "left_only"].sort_values(["site", "host"])
    at_staging = elsewhere["host"] == STAGING_HOST
    managed = elsewhere["managed"].astype(bool)
    strangers = pd.concat([elsewhere[~managed & ~at_staging], present[~present["managed"].astype(bool)]])
    lacking, excess = _compare_rights(desired, wanted, present, actual)
    wrong = _has_other_password(desired, present)
    bad, uneven, like = _compare_salted(desired, present, thorough=thorough)
    return Comparison(
        missing=_pairs(desired, both[both["row"].isna()]),
        strangers=_with_facts(desired, actual, strangers.sort_values(["site", "host"])),
        wrong=_pairs(desired, present[wrong | bad]),
        uneven=_pairs(desired, present[uneven]),
        locked=_pairs(desired, present[present["locked"].astype(bool)]),
        lacking=lacking,
        excess=excess,
        stale=_with_facts(desired, actual, elsewhere[managed & ~at_staging]),
        staged=_with_facts(desired, actual, elsewhere[at_staging]),
        like=like,
    )


def _wanted_table(desired: Sequence[SiteAccess], actual: GrantFacts) -> pd.DataFrame:
    rows = [
        (position, access.user, host, pattern)
        for position, access in enumerate(desired)
        for pattern in (grant_pattern(access.database, actual.server),)
        for host in sorted(access.hosts)
    ]
    return pd.DataFrame(rows, columns=["site", "user", "host", "pattern"], dtype=object).astype({"site": int})


def _account_table(actual: GrantFacts) -> pd.DataFrame:
    # The digests stay in this table, which nobody prints.
    rows = [
        (
            row,
            facts.account.user,
            facts.account.host,
            facts.managed,
            facts.locked,
            facts.plugin,
            facts.digest.get_secret_value(),
            tuple(other.get_secret_value() for _, other in facts.others),
        )
        for row, facts in enumerate(actual.accounts)
    ]
    columns = ["row", "user", "host", "managed", "locked", "plugin", "digest", "others"]
    return pd.DataFrame(rows, columns=columns, dtype=object)


def _has_other_password(desired: Sequence[SiteAccess], present: pd.DataFrame) -> pd.Series[bool]:
    """Where the plugin's digest can be computed: is none of the stored ones that of the site's password?"""
    expected = [native_digest(access.password) for access in desired]
    native = present["plugin"] == NATIVE
    equal = present["digest"].str.upper() == present["site"].map(dict(enumerate(expected)))
    changing = present["others"].astype(bool)
    wrong = native & ~equal & ~changing
    # Nearly always empty: while a password is being changed, an account takes any of several.
    some = present[changing]
    for index, site, first, others in zip(
        some.index, some["site"], some["digest"], some["others"], strict=True
    ):
        wrong.loc[index] = not any(
            digest.upper() == expected[site] or sha2_matches(SecretStr(digest), desired[site].password)
            for digest in (first, *others)
        )
    return wrong


def _compare_salted(
    desired: Sequence[SiteAccess], present: pd.DataFrame, *, thorough: bool
) -> tuple[pd.Series[bool], pd.Series[bool], dict[str, Account]]:
    """Where is the salted digest that of another password, and where one of the right password alone?"""
    # One with a second password is in the middle of a change of passwords, which another run finishes.
    salted = present[(present["plugin"] != NATIVE) & ~present["others"].astype(bool)]
    none = pd.Series(data=False, index=present.index)
    if salted.empty:
        return none, none, {}
    kinds = salted.groupby(["site", "digest"], sort=False)["host"].agg(["size", "min"]).reset_index()
    kinds["right"] = True
    doubtful = kinds["site"].duplicated(keep=False) | thorough
    for index, site, digest in zip(kinds.index, kinds["site"], kinds["digest"], strict=True):
        if doubtful[index]:
            kinds.loc[index, "right"] = sha2_matches(SecretStr(digest), desired[site].password)
    # The one that most hosts have; of two equally frequent ones always the same.
    best = kinds[kinds["right"]].sort_values(["site", "size", "digest"], ascending=[True, False, True])
    best = best.drop_duplicates("site")
    chosen = salted.merge(best[["site", "digest"]], on="site", how="left", suffixes=("", "_best"))
    judged = salted.merge(kinds, on=["site", "digest"], how="left")
    is_right = pd.Series(judged["right"].to_numpy(dtype=bool), index=salted.index)
    is_best = pd.Series((chosen["digest"] == chosen["digest_best"]).to_numpy(dtype=bool), index=salted.index)
    like = {
        desired[site].user: Account(desired[site].user, host) for site, host in best[["site", "min"]].values
    }
    return (
        none | (~is_right).reindex(present.index, fill_value=False),
        none | (is_right & ~is_best).reindex(present.index, fill_value=False),
        like,
    )


def _compare_rights(
    desired: Sequence[SiteAccess], wanted: pd.DataFrame, present: pd.DataFrame, actual: GrantFacts
) -> tuple[
    tuple[tuple[SiteAccess, Account, Privileges], ...],
    tuple[tuple[SiteAccess, Account, str, Privileges], ...],
]:
    bits = _bits_of(desired, actual)
    masks = {access.privileges: _mask(access.privileges, bits) for access in desired}
    needs = pd.Series([masks[access.privileges] for access in desired], dtype="int64")
    held = _rights_table(actual, bits)
    mine = present[["site", "user", "host", "pattern"]].merge(held, on=["user", "host"], how="left")
    exact = mine["stored"] == mine["pattern"]
    mine["need"] = mine["site"].map(needs).astype("int64")
    has = mine[exact][["user", "host", "mask"]]
    lack = present[["site", "user", "host"]].merge(has, on=["user", "host"], how="left")
    lack["short"] = lack["site"].map(needs).astype("int64") & ~lack["mask"].fillna(0).astype("int64")
    mine = mine[mine["stored"].notna()]
    mine["extra"] = mine["mask"].astype("int64") & ~mine["need"].where(exact[mine.index], 0)
    lack = lack[lack["short"].astype(bool)]
    mine = mine[mine["extra"].astype(bool)].sort_values(["site", "host", "stored"])
    return (
        tuple(
            (access, account, _names(short, bits))
            for (access, account), short in zip(_pairs(desired, lack), lack["short"], strict=True)
        ),
        tuple(
            (access, account, stored, _names(extra, bits))
            for (access, account), stored, extra in zip(
                _pairs(desired, mine), mine["stored"], mine["extra"], strict=True
            )
        ),
    )


def _rights_table(actual: GrantFacts, bits: dict[str, int]) -> pd.DataFrame:
    known: dict[frozenset[str], int] = {}
    rows = []
    for rights in actual.rights:
        mask = known.get(rights.privileges)
        if mask is None:
            mask = known[rights.privileges] = _mask(rights.privileges, bits)
        rows.append((rights.account.user, rights.account.host, rights.pattern, mask))
    return pd.DataFrame(rows, columns=["user", "host", "stored", "mask"], dtype=object)


def _bits_of(desired: Sequence[SiteAccess], actual: GrantFacts) -> dict[str, int]:
    sets = {access.privileges for access in desired} | {rights.privileges for rights in actual.rights}
    return {name: 1 << place for place, name in enumerate(sorted({name for each in sets for name in each}))}


def _mask(privileges: Iterable[str], bits: dict[str, int]) -> int:
    return sum(bits[name] for name in set(privileges))


def _names(mask: int, bits: dict[str, int]) -> Privileges:
    return tuple(name for name, bit in bits.items() if mask & bit)


def _pairs(desired: Sequence[SiteAccess], table: pd.DataFrame) -> tuple[tuple[SiteAccess, Account], ...]:
    if table.empty:
        return ()
    columns = zip(table["site"], table["user"], table["host"], strict=True)
    return tuple((desired[site], Account(user, host)) for site, user, host in columns)


def _with_facts(
    desired: Sequence[SiteAccess], actual: GrantFacts, table: pd.DataFrame
) -> tuple[tuple[SiteAccess, AccountFacts], ...]:
    if table.empty:
        return ()
    columns = zip(table["site"], table["row"], strict=True)
    return tuple((desired[site], actual.accounts[row]) for site, row in columns)
