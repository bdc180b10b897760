"""How the accounts of a server differ from what sites need, for a person to read: rows, and a matrix."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tasks.grants.comparison import Comparison, compare, sites_of
from tasks.grants.exposure import DriftRow, find_exposure
from tasks.grants.spelling import grant_pattern, is_spelling_of, stored_name
from tasks.grants.values import STAGING_HOST, Account, Desired, GrantFacts, SiteAccess


@dataclass(frozen=True, slots=True)
class GrantDrift:
    """Every difference found, sorted; false when there is none. `sites` maps each site to its addresses."""

    rows: tuple[DriftRow, ...] = ()
    sites: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.rows)

    def __add__(self, other: GrantDrift) -> GrantDrift:
        return GrantDrift(tuple(sorted({*self.rows, *other.rows})), self.sites or other.sites)

    def __str__(self) -> str:
        if not self.rows:
            return "grants: no drift"
        lines = [f"  {row.kind:15} {row.site}: {row.account or row.server} {row.detail}" for row in self.rows]
        return "\n".join([f"grants: {len(self.rows)} difference(s): {self.summary}", *lines])

    @property
    def summary(self) -> str:
        """How many of each kind, for a headline or an event: `MISSING 3, STALE_HOST 1`."""
        kinds = [row.kind for row in self.rows]
        return ", ".join(f"{kind} {kinds.count(kind)}" for kind in sorted(set(kinds)))

    def as_rows(self) -> list[dict[str, str]]:
        """Rows for a table artifact."""
        return [
            {
                "kind": row.kind,
                "site": row.site,
                "account": row.account,
                "detail": row.detail,
                "server": row.server,
            }
            for row in self.rows
        ]

    def matrix(self, nodes: Mapping[str, Sequence[str]], *, all_sites: bool = True) -> list[dict[str, str]]:
        """Return a row per site and a column per node: `ok`, the kinds of drift there, or `-`.

        `nodes` maps each node to the addresses that the database sees it under; `?` stands for one that was
        not seen, `-` for one that does not serve the site. What is about the whole site is in the column
        `site-wide`. Without `all_sites`, only the sites that differ.
        """
        by_site: dict[str, list[DriftRow]] = {site: [] for site, _ in self.sites}
        for row in self.rows:
            by_site.setdefault(row.site, []).append(row)
        return [
            {
                "site": site,
                **{node: _cell(by_site[site], hosts, addresses) for node, addresses in nodes.items()},
                "site-wide": _kinds(row for row in by_site[site] if not row.host),
            }
            for site, hosts in self.sites
            if all_sites or by_site[site]
        ]


def find_drift(
    desired: Sequence[Desired],
    actual: GrantFacts,
    replicas: Mapping[str, GrantFacts] | None = None,
    *,
    thorough: bool = False,
) -> GrantDrift:
    """Return every difference between the accesses in `desired` and what the server has.

    `replicas` are the facts of its other nodes by their names: what is missing there although it is right on
    `actual` is REPLICA_MISSING. `thorough` computes every salted digest, as in `plan_grants`: otherwise the
    same wrong one at all of a site's hosts is not seen. Pure; no password is in the result.
    """
    sites = sites_of(desired)
    found = compare(sites, actual, thorough=thorough)
    rows = [*_differences(found, actual), *_databases(sites, actual), *_besides(sites, actual)]
    rows += find_exposure(sites, actual)
    for name, facts in sorted((replicas or {}).items()):
        rows += _missing_on_replica(name, sites, found, compare(sites, facts), actual, facts)
    return GrantDrift(tuple(sorted(set(rows))), tuple((site.site, site.hosts) for site in sites))


def find_unregistered(users: Collection[str], actual: GrantFacts) -> GrantDrift:
    """Return the accounts that carry our mark although no site that is registered has a user of that name.

    `users` are those of all sites on the server. Such an account is reported and not dropped: a site may be
    unregistered by mistake, and its database is somebody's content.
    """
    why = "carries our mark, and no registered site has this user: register it again, or drop it by hand"
    return GrantDrift(
        tuple(
            sorted(
                DriftRow("-", "EXTRA", str(there.account), why)
                for there in actual.accounts
                if there.managed and there.account.user not in users and there.account.host != STAGING_HOST
            )
        )
    )


def _differences(found: Comparison, actual: GrantFacts) -> Iterator[DriftRow]:
    for access, account in found.missing:
        yield DriftRow(access.site, "MISSING", str(account), "there is no such account", account.host)
    for access, there in found.strangers:
        host = there.account.host
        yield DriftRow(
            access.site,
            "ADOPTION_REQUIRED",
            str(there.account),
            "somebody else made it",
            host if host in access.hosts else "",
        )
    for access, account in found.wrong:
        yield DriftRow(access.site, "WRONG_HASH", str(account), "has another password", account.host)
    for access, account in found.uneven:
        why = "what is stored of its password is not what the site's other hosts have"
        yield DriftRow(access.site, "WRONG_HASH", str(account), why, account.host)
    for access, account in found.locked:
        yield DriftRow(access.site, "LOCKED", str(account), "is locked", account.host)
    for access, account, short in found.lacking:
        yield DriftRow(access.site, "MISSING", str(account), f"may not {', '.join(short)}", account.host)
    for access, account, pattern, extra in found.excess:
        yield _excess(access, account, pattern, extra, found, actual)
    for access, there in found.stale:
        yield DriftRow(access.site, "STALE_HOST", str(there.account), "no node has this address")


def _excess(
    access: SiteAccess,
    account: Account,
    pattern: str,
    extra: tuple[str, ...],
    found: Comparison,
    actual: GrantFacts,
) -> DriftRow:
    database, right = stored_name(access.database, actual.server), ", ".join(extra)
    row = DriftRow(access.site, "EXTRA", str(account), f"may {right} on {pattern!a}", account.host)
    if pattern == grant_pattern(access.database, actual.server) or not is_spelling_of(pattern, database):
        return row
    lacks = {short for owner, who, short in found.lacking if who == account}
    both = not any(len(short) == len(set(access.privileges)) for short in lacks)
    if both:
        why = f"has rights under two spellings of its database; those on {pattern!a} do not apply"
        return DriftRow(access.site, "DUP_ROW", row.account, why, row.host)
    why = f"its rights are on the pattern {pattern!a}, which other names match too"
    if actual.server.literal_names:
        why = f"its rights are on the name {pattern!a}: with partial_revokes nothing is escaped"
    return DriftRow(access.site, "UNESCAPED", row.account, why, row.host)


def _databases(sites: Sequence[SiteAccess], actual: GrantFacts) -> Iterator[DriftRow]:
    for access in sites:
        if stored_name(access.database, actual.server) not in actual.databases:
            yield DriftRow(access.site, "MISSING", "", f"there is no database {access.database!a}")


def _besides(sites: Sequence[SiteAccess], actual: GrantFacts) -> Iterator[DriftRow]:
    """What accounts of ours have that is no right on a database."""
    owners = {access.user: access for access in sites}
    ours = {
        there.account: there for there in actual.accounts if there.managed and there.account.user in owners
    }
    for account, there in ours.items():
        extra = [f"may {', '.join(sorted(there.privileges))} on everything"] if there.privileges else []
        extra += [f"holds the role {role!a}" for role in there.roles]
        extra += ["accepts a second password"] if there.others else []
        for detail in extra:
            yield DriftRow(owners[account.user].site, "EXTRA", str(account), detail, account.host)
    for thing in actual.objects:
        if thing.account in ours:
            site, host = owners[thing.account.user].site, thing.account.host
            yield DriftRow(site, "EXTRA", str(thing.account), f"has rights on the {thing.what}", host)


def _missing_on_replica(
    name: str,
    sites: Sequence[SiteAccess],
    writer: Comparison,
    replica: Comparison,
    actual: GrantFacts,
    facts: GrantFacts,
) -> Iterator[DriftRow]:
    """What is right on the writer and is not on one of its replicas, or on another node of its cluster."""

    def row(access: SiteAccess, account: str, detail: str, host: str = "") -> DriftRow:
        return DriftRow(access.site, "REPLICA_MISSING", account, f"on {name}: {detail}", host, name)

    digests = {there.account: (there.plugin, there.digest.get_secret_value()) for there in actual.accounts}
    there_too = {there.account: (there.plugin, there.digest.get_secret_value()) for there in facts.accounts}
    for access, account in set(replica.missing) - set(writer.missing):
        yield row(access, str(account), "there is no such account", account.host)
    for access, account, short in set(replica.lacking) - set(writer.lacking):
        yield row(access, str(account), f"may not {', '.join(short)}", account.host)
    for access, account in set(replica.locked) - set(writer.locked):
        yield row(access, str(account), "is locked", account.host)
    for access in sites:
        if access.database in actual.databases - facts.databases:
            yield row(access, "", f"there is no database {access.database!a}")
        for host in access.hosts:
            account = Account(access.user, host)
            if account in there_too and digests.get(account, there_too[account]) != there_too[account]:
                yield row(access, str(account), "has another password", host)


def _cell(rows: Iterable[DriftRow], hosts: tuple[str, ...], addresses: Sequence[str]) -> str:
    if not addresses:
        return "?"
    if not set(addresses) & set(hosts):
        return "-"
    return _kinds(row for row in rows if row.host in addresses) or "ok"


def _kinds(rows: Iterable[DriftRow]) -> str:
    return " ".join(sorted({row.kind for row in rows}))
