"""Who reaches which database: what sites need, what servers have, and the one way from there to here.

Every flow that gives or takes database access goes through here, so that there is no second path.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from prefect import unmapped
from prefect.utilities.annotations import quote

from blocks import Site
from flows.gather import gather
from flows.serving import Serving, by_database
from tasks.errors import PlanRefused
from tasks.fleet import Database, Node
from tasks.grants import (
    Budget,
    BudgetExceeded,
    GrantFacts,
    GrantPlan,
    Policy,
    Sightings,
    SiteAccess,
    check_logins,
    check_replica,
    find_addresses,
    give_access,
    plan_grants,
    plan_with,
    read_grants,
    sight,
    take_access_back,
)
from tasks.outcome import Outcome, Outcomes
from tasks.steps import join_outcomes

# Where MySQL salts passwords, looking at one takes 10 ms: up to so many sites it is always done. Of more,
# what is stored is taken for right until a login is refused.
_THOROUGH_SITES = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may reach one database server, and what has to be done for it.

    `serving` maps each site to the nodes that are to log in; it was planned from `actual`, and `thorough`
    says that every stored password was looked at.
    """

    server: Database
    desired: tuple[SiteAccess, ...]
    plan: GrantPlan
    actual: GrantFacts
    sightings: Sightings
    serving: Mapping[str, tuple[Node, ...]]
    thorough: bool = False

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Every node that serves one of the sites."""
        return tuple({node.name: node for nodes in self.serving.values() for node in nodes}.values())

    @property
    def narrowed(self) -> frozenset[str]:
        """The sites that have rights which are too many, and may reach what is not theirs until these go."""
        return frozenset(step.site for step in self.plan.removals if step.kind == "revoke")

    @property
    def troubles(self) -> Outcomes:
        """What this run leaves undone and must not end well for: refused sites, readers that were silent."""
        refused = [Outcome(self.server.name, "plan grants", error=reason) for reason in self.plan.refused]
        silent = [Outcome(name, "find addresses", error=why) for name, why in self.sightings.troubles.items()]
        return Outcomes((*refused, *silent))

    def accesses_of(self, node: Node, sites: Collection[str] | None = None) -> tuple[SiteAccess, ...]:
        """The accesses that the node needs, all of them or those of `sites`."""
        return tuple(
            access
            for access in self.desired
            if node in self.serving[access.site] and (sites is None or access.site in sites)
        )


def plan_access(
    nodes: Sequence[Node], sites: Sequence[Site], *, complete: bool, budget: Budget | None = None
) -> tuple[tuple[Access, ...], Outcomes]:
    """Plan that `nodes` reach the databases of `sites` and, where these are all there are, nobody else."""
    return plan_serving([Serving(site, tuple(nodes), complete) for site in sites], budget=budget)


def plan_serving(
    serving: Sequence[Serving],
    *,
    adopt: bool = False,
    budget: Budget | None = None,
    grace: bool = False,
    thorough: bool = False,
    to_the_end: bool = False,
) -> tuple[tuple[Access, ...], Outcomes]:
    """Plan the access of sites that may be on different nodes and different database servers.

    The outcomes are what could not be read or must not be done. Of a site of which a node was not observed
    nothing is dropped, and nothing when it is more than `budget` allows. `thorough` looks at every stored
    password, however many there are. Raises PlanRefused where nothing of a server's sites can be planned;
    with `to_the_end` that is an outcome, too.
    """
    found, unread = list[Access](), Outcomes()
    for server, here in by_database(serving):
        nodes = {node.name: node for each in here for node in each.nodes}
        asked = gather("find addresses", find_addresses.map(list(nodes.values()), unmapped(server)))
        sightings = sight(asked.seen, list(nodes))
        desired = tuple(_access_of(each, sightings) for each in here)
        grants = gather("read grants", [read_grants.submit(server, _as_is(desired))])
        unread = unread + asked.unread + grants.unread
        if not grants.seen or not asked.seen:
            continue
        deep = thorough or len(desired) <= _THOROUGH_SITES
        policy = Policy(True, adopt, budget or Budget(), grace, deep)
        try:
            plan, refused = _plan_within(policy, desired, grants.seen[server.name])
        except PlanRefused as refusal:
            if not to_the_end:
                raise
            plan, refused = GrantPlan(refused=(str(refusal),)), Outcomes()
        names = {each.site.uri: tuple(n for n in each.nodes if n.name in asked.seen) for each in here}
        found.append(Access(server, desired, plan, grants.seen[server.name], sightings, names, deep))
        unread = unread + found[-1].troubles + refused
    return tuple(found), unread


def open_access(
    found: Iterable[Access], *, nodes: Collection[str] | None = None, only_changed: bool = False
) -> Outcomes:
    """Every site's database exists, and its credentials work from every node that serves it, and there alone.

    Where the plan takes rights away, that they reach nothing else is for `close_access`. Logins are tried
    from all nodes or from those named, and with `only_changed` for the sites that something was done for. If
    one is refused, what is stored of the passwords is put right, and the logins are tried once more.
    """
    outcomes = Outcomes()
    for access in found:
        given = join_outcomes(
            [give_access.submit(access.server, _as_is(access.desired), _as_is(access.plan))]
        )
        outcomes += given
        if given.failed:
            continue
        outcomes += check_replicas(access)
        sites = access.plan.sites if only_changed else None
        checked = log_in_everywhere(access, sites, nodes, wide=access.narrowed)
        if checked.failed and (repaired := repair_passwords(access)):
            outcomes += repaired
            checked = log_in_everywhere(access, sites, nodes, wide=access.narrowed)
        outcomes += checked
    return outcomes


def log_in_everywhere(
    access: Access,
    sites: Collection[str] | None = None,
    nodes: Collection[str] | None = None,
    *,
    wide: Collection[str] = (),
) -> Outcomes:
    """Every node has logged in as each site that it serves; but for those in `wide`, into that one alone."""
    needed = [
        (node, access.accesses_of(node, sites))
        for node in access.nodes
        if nodes is None or node.name in nodes
    ]
    tasks = [
        check_logins.submit(node, access.server, _as_is(accesses), _as_is(wide))
        for node, accesses in needed
        if accesses
    ]
    return join_outcomes(tasks)


def repair_passwords(access: Access) -> Outcomes:
    """What the server stores of every password was looked at, and what is not the site's was replaced."""
    grants = gather("read grants", [read_grants.submit(access.server)])
    if not grants.seen:
        return grants.unread
    plan = plan_grants(access.desired, grants.seen[access.server.name], thorough=True)
    if not plan.additions:
        return Outcomes()
    return join_outcomes([give_access.submit(access.server, _as_is(access.desired), _as_is(plan))])


def check_replicas(access: Access) -> Outcomes:
    """Every reader of the database has what its writer has."""
    if not access.server.readers:
        return Outcomes()
    grants = gather("read grants", [read_grants.submit(access.server)])
    if not grants.seen:
        return grants.unread
    now = grants.seen[access.server.name]
    return join_outcomes(
        check_replica.submit(reader, _as_is(access.desired), _as_is(now)) for reader in access.server.readers
    )


def close_access(found: Iterable[Access]) -> Outcomes:
    """What no node needs any more is taken back; only after everything else worked.

    The sites that had too many rights still reach their databases, and now these alone.
    """
    leaving = [access for access in found if access.plan.removals]
    outcomes = join_outcomes(
        [take_access_back.submit(a.server, _as_is(a.desired), _as_is(a.plan)) for a in leaving]
    )
    for access in leaving:
        if access.narrowed and access.server.name not in outcomes.failed_hosts:
            outcomes += log_in_everywhere(access, access.narrowed)
    return outcomes


def _as_is(value: T) -> T:
    """Keep Prefect from looking for futures in ten thousand accounts, which takes it seconds."""
    return cast("T", quote(value))


def _plan_within(
    policy: Policy, desired: Sequence[SiteAccess], actual: GrantFacts
) -> tuple[GrantPlan, Outcomes]:
    try:
        return plan_with(policy, desired, actual), Outcomes()
    except BudgetExceeded as exceeded:
        plan = plan_with(replace(policy, drop_stale=False), desired, actual)
        return plan, Outcomes((Outcome("controller", "plan grants", error=str(exceeded)),))


def _access_of(serving: Serving, sightings: Sightings) -> SiteAccess:
    credentials = serving.site.credentials()
    seen = sightings.seen
    return SiteAccess(
        site=serving.site.uri,
        database=credentials.database,
        user=credentials.user,
        password=credentials.password,
        hosts=tuple(sorted({address for node in serving.nodes for address in seen.get(node.name, ())})),
        complete=serving.complete and not any(node.name in sightings.uncertain for node in serving.nodes),
    )
