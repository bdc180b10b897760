"""reconcile-grants: every site reaches its database from every node that serves it, and nobody else does.

Trigger: by hand, on a schedule, or after anything that changes who serves what; with `dry run`, a report.
Effect: every node's address is found by asking the database; accounts, rights and databases are read in a few
    queries however many there are; the drift is published as a matrix of sites and nodes and then row by row;
    what is missing is given, every node logs in as every site of it, and only then what is too much is taken
    back. Accounts without our mark are reported and left alone, unless they are adopted.
Rollback: none; every step is towards what is registered. Nobody loses access on the way.
Safe to re-run? Yes, also after a kill at any statement. A second run finds nothing to do and says so.
3 a.m.: a node that the database did not see is named and the run fails; it keeps what it has, and so does
    everybody else. Where rows are left that only an administrator may repair, the outcome has the statement,
    and everything else was done. A platform or server that names one that is not registered fails alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from prefect.client.schemas.objects import State

from blocks import Cluster, DatabaseServer, Pack, Site, WebServer
from flows.access import Access, close_access, open_access, plan_serving
from flows.gather import gather
from flows.locks import hold
from flows.operation import operation
from flows.publish import announce, conclude, publish_plan, publish_table
from flows.registry import list_sites
from flows.serving import find_databases, serve
from tasks.errors import Drift, PlanRefused
from tasks.fleet import Target
from tasks.grants import Budget, GrantDrift, find_drift, find_unregistered, read_grants
from tasks.outcome import Outcomes

# Of more sites, the matrix shows those that differ.
_SITES_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Scope:
    """The sites that a run is about, and how they are called in tables and events.

    `users` are, by endpoint, those of every registered site, where all sites of a server are asked for.
    """

    name: str
    sites: tuple[Site, ...]
    users: Mapping[str, frozenset[str]] = field(default_factory=dict)


@operation("reconcile-grants", runbook=__doc__, run_name="reconcile grants")
def reconcile_grants(
    site: Site | None = None,
    target: Cluster | Pack | WebServer | None = None,
    database: DatabaseServer | None = None,
    adopt: bool = False,
    drops: int | None = None,
    logins: Literal["all", "changed"] = "all",
    fail_on_drift: bool = False,
    dry_run: bool = False,
) -> State[Outcomes]:
    """Give every node access to the databases of its sites, take it from everybody else, and prove both.

    Args:
        site: Only this site; without any of the first three, all sites.
        target: Only the sites on this cluster, pack or server.
        database: Only the sites on this database server.
        adopt: Take over accounts and databases of the right name that somebody else made.
        drops: How many accounts may go in this run; empty for the usual budget.
        logins: Whose logins are tried from every node; of very many sites, only those that were changed.
        fail_on_drift: End as failed when anything differed, also where it was repaired.
        dry_run: Only show what differs and what would be done.
    """
    databases, _ = find_databases(choose(site, target, database).sites)
    with hold(Target("grants", ()), *databases.values()):
        # Again: whoever held the locks until now may have changed a site, or who serves it.
        scope = choose(site, target, database)
        known, unknown = serve(scope.sites)
        serving = [each for each in known if each.site.database.name in databases]
        budget = None if drops is None else Budget(accounts=drops, percent=0)
        # Without logins, only what is stored tells that a password is another.
        found, outcomes = plan_serving(serving, adopt=adopt, budget=budget, thorough=dry_run, to_the_end=True)
        drift, silent = publish_drift(scope, found)
        outcomes += unknown + silent
        publish_plan(f"grants of {scope.name}", *(access.plan for access in found))
        if not dry_run:
            done = repair(found, only_changed=logins == "changed")
            outcomes += done
            announce_repaired(found, done)
    state = conclude(f"grants of {scope.name}", outcomes)
    if fail_on_drift:
        refuse_differences(found, drift)
    return state


def refuse_differences(found: Sequence[Access], drift: GrantDrift) -> None:
    """Raise Drift where something differed, or was to be done although nothing in the table says why."""
    if drift:
        raise Drift(f"{len(drift.rows)} difference(s): {drift.summary}; see the drift table")
    if planned := [access.server.name for access in found if access.plan]:
        raise Drift(f"there is something to do on {', '.join(planned)}; see the plan")


def choose(
    site: Site | None, target: Cluster | Pack | WebServer | None, database: DatabaseServer | None
) -> Scope:
    """The registered sites that are asked for; PlanRefused when more than one of the three is given."""
    given = [each for each in (site, target, database) if each is not None]
    if len(given) > 1:
        raise PlanRefused("a site, a target and a database server were given", "Choose one, or none for all")
    sites = list_sites()
    if site is not None:
        return Scope(site.uri, (Site.get(site.name, "this run"),))
    if target is not None:
        on = type(target), target.name
        here = [s for s in sites if (type(s.platform.target), s.platform.target.name) == on]
        return Scope(target.name, tuple(here))
    if database is not None:
        return Scope(
            database.name,
            tuple(s for s in sites if s.database.name == database.name),
            users=find_users(sites),
        )
    return Scope("all sites", sites, find_users(sites))


def find_users(sites: Iterable[Site]) -> dict[str, frozenset[str]]:
    """The users of the sites on each database server; one server may be registered under several names."""
    users: dict[str, set[str]] = {}
    for site in sites:
        users.setdefault(site.database.endpoint, set()).add(site.credentials().user)
    return {endpoint: frozenset(names) for endpoint, names in users.items()}


def publish_drift(scope: Scope, found: Sequence[Access]) -> tuple[GrantDrift, Outcomes]:
    """Show the matrix, then the rows, and tell other systems; everything that differs, and silent readers."""
    looked = {
        access.server.name: find_all(access, scope.users.get(access.server.endpoint)) for access in found
    }
    drifts = {name: drift for name, (drift, _) in looked.items()}
    nodes = list(dict.fromkeys(node for access in found for node, _ in access.sightings.nodes))
    matrix = [row for access in found for row in show_matrix(access, drifts[access.server.name], nodes)]
    rows = [
        {**row, "server": row["server"] or name} for name, drift in drifts.items() for row in drift.as_rows()
    ]
    notes = [note for access in found for note in access.sightings.notes]
    about, total = f"grants of {scope.name}", sum((drift for drift in drifts.values()), GrantDrift())
    headline = f"{len(rows)} difference(s): {total.summary}." if rows else "No drift."
    publish_table("matrix", about, matrix, " ".join(["Sites and nodes.", headline, *notes]))
    publish_table("drift", about, rows, headline)
    for name, drift in drifts.items():
        if drift:
            announce("grants.drift", name, {"scope": scope.name, "drift": drift.summary})
    return total, sum((silent for _, silent in looked.values()), Outcomes())


def find_all(access: Access, users: Collection[str] | None) -> tuple[GrantDrift, Outcomes]:
    """Every difference on the server, what its readers lack, and accounts of ours of none of the `users`.

    A reader that could not be read is a failed Outcome: what it lacks nobody knows.
    """
    readers = gather("read grants", [read_grants.submit(reader) for reader in access.server.readers])
    drift = find_drift(access.desired, access.actual, readers.seen, thorough=access.thorough)
    if users is not None:
        drift += find_unregistered(users, access.actual)
    return drift, readers.unread


def show_matrix(access: Access, drift: GrantDrift, nodes: Sequence[str]) -> list[dict[str, str]]:
    """A row for each site of the server, with the same columns for every server."""
    seen: Mapping[str, Sequence[str]] = dict(access.sightings.nodes)
    # A node that serves none of the server's sites was not looked for there, which is not the same as unseen.
    addresses = {node: seen.get(node, ("-",)) for node in nodes}
    return drift.matrix(addresses, all_sites=len(access.desired) <= _SITES_SHOWN)


def repair(found: Sequence[Access], *, only_changed: bool) -> Outcomes:
    """What is missing is given and proven by logins; then, if all is well, what is too much is taken back."""
    outcomes = open_access(found, only_changed=only_changed)
    return outcomes if outcomes.failed else outcomes + close_access(found)


def announce_repaired(found: Sequence[Access], done: Outcomes) -> None:
    """Tell other systems of each server on which something was changed and nothing failed."""
    for access in found:
        here = [outcome for outcome in done if outcome.host == access.server.name]
        if access.plan and not done.failed:
            detail = "; ".join(outcome.detail for outcome in here if outcome.changed)
            announce(
                "grants.repaired",
                access.server.name,
                {"statements": str(len(access.plan.steps)), "done": detail[:1000]},
            )
