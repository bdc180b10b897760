"""remove-node: take a server out of a cluster, or a slave out of a pack, and what is ours off it.

Trigger: by hand or by another system, for a server that is retired, or is down for good. Take it out of the
    load balancer first.
Effect: the server is taken off the list, so that no other flow counts on it; the vhosts of the target's sites
    go, its access to their databases is taken back, its mounts and what was exported to it go, and last our
    key, unless it serves another cluster or pack, too. Its copy of a cluster's code and data stays where it
    is: what was uploaded through it is nowhere else.
Rollback: add-node.
Safe to re-run? Yes, at any point and after a kill, also when it is off the list already.
3 a.m.: a server that does not answer is taken off the list and off the databases all the same. The run ends
    as failed and says what is left on the server: when it is back, run this again. Where a member that stays
    cannot log in to a database, nothing is taken back there: run reconcile-grants, then this again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from prefect.client.schemas.objects import State

from blocks import Cluster, Pack, Platform, Site
from flows.access import close_access, open_access, plan_access
from flows.convergence import serve_everywhere
from flows.gather import gather
from flows.locks import hold
from flows.membership import members_of, others_with, platforms_on, strike, with_members
from flows.operation import operation
from flows.provision import withdraw
from flows.publish import Plan, announce, conclude, publish_plan
from tasks.fleet import Node, Target
from tasks.grants import Budget
from tasks.membership import is_let_in, plan_leaving, read_ids, refuse_leaving, revoke_key
from tasks.outcome import Outcomes
from tasks.packs import forget
from tasks.steps import join_outcomes
from tasks.web import ServerConfig, WebPlan, plan_web, read_web_config

LEFT_THERE = "it does not answer: its vhosts, mounts and our key are still on it. Run this again when it does"


@dataclass(frozen=True, slots=True)
class Leaving:
    """A server that is to be no member: `staying` are the others, `elsewhere` its other targets."""

    target: Cluster | Pack
    fleet: Target
    staying: Target
    node: Node
    platforms: tuple[tuple[Platform, tuple[Site, ...]], ...]
    elsewhere: tuple[str, ...]

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(site for _, sites in self.platforms for site in sites)


@operation("remove-node", runbook=__doc__, run_name="remove {server} from {target.name}")
def remove_node(target: Cluster | Pack, server: str, dry_run: bool = False) -> State[Outcomes]:
    """Take one server out of a cluster, or one slave out of a pack, and what is ours off it.

    Args:
        target: The cluster or pack that it leaves.
        server: Name of the web server to remove, as it is registered.
        dry_run: Only show what would be done.
    """
    about, names = f"remove {server} from {target.name}", members_of(target)
    listed = server in names
    refuse_leaving(target.resolve(), server)
    fleet = (target if listed else with_members(target, [*names, server])).resolve()
    (node,) = (node for node in fleet.nodes if node.name == server)
    staying = fleet.only({n.name for n in fleet.nodes} - {server})
    databases = [site.database.database() for _, sites in platforms_on(target) for site in sites]
    with hold(fleet, *databases):
        leaving = Leaving(target, fleet, staying, node, platforms_on(target), others_with(server, target))
        web, unread = look(leaving)
        sites = tuple(site.uri for site in leaving.sites)
        plan = plan_leaving(fleet, server, sites, listed=listed, elsewhere=leaving.elsewhere)
        plans: list[Plan] = [plan, *([web] if web else [])]
        publish_plan(about, *plans)
        outcomes = Outcomes()
        if not dry_run:
            outcomes = carry_out(leaving, web)
            if not outcomes.failed:
                announce("node.removed", server, {"target": target.name})
    return conclude(about, outcomes + unread)


def look(leaving: Leaving) -> tuple[WebPlan | None, Outcomes]:
    """Plan what goes from the server; None where we are let in no more, or where it does not answer.

    The Outcomes say the latter, and what that leaves behind. The key goes last, so without it there is no
    vhost left either.
    """
    key = gather("look for our key", [is_let_in.submit(leaving.node)])
    if not any(key.seen.values()):
        return None, Outcomes(tuple(replace(o, error=f"{o.error}; {LEFT_THERE}") for o in key.unread))
    configs = gather("read web configuration", [read_web_config.submit(leaving.node)])
    configs.unread.raise_if_failed()
    return plan_vhosts(leaving, configs.seen[leaving.node.name]), Outcomes()


def plan_vhosts(leaving: Leaving, config: ServerConfig) -> WebPlan:
    """No vhost of the target's platforms, registered or forgotten."""
    there = {uri for platform, _ in leaving.platforms for uri in config.sites_of(platform.name)}
    return plan_web(dict.fromkeys(sorted(there), None), config, leaving.node.kind)


def carry_out(leaving: Leaving, web: WebPlan | None) -> Outcomes:
    """Everything that can be done is; the key goes last, and only when nothing else is left to do there."""
    node = leaving.node
    outcomes = Outcomes((strike(leaving.target, node.name),))
    if web is not None:
        outcomes += serve_everywhere((node,), {node.name: web}, ())
    outcomes += take_grants_back(leaving)
    if leaving.fleet.share is not None:
        if web is not None:
            outcomes += join_outcomes(
                [forget.submit(node, platform.name) for platform, _ in leaving.platforms]
            )
        outcomes += withdraw(leaving.fleet, node)
    if web is not None and node.name not in outcomes.failed_hosts and not leaving.elsewhere:
        outcomes += join_outcomes([revoke_key.submit(node)])
    return outcomes


def take_grants_back(leaving: Leaving) -> Outcomes:
    """No site's account of the server is left, as far as the other members are known and have their access.

    What the members lack is given first: what is too much may be all that lets one of them in.
    """
    if not leaving.sites:
        return Outcomes()
    members = leaving.staying
    silent = gather("ask members", read_ids.map(members.nodes)).unread
    alive = members.only(set(members.node_names) - silent.failed_hosts)
    if not alive.nodes:
        return silent
    # One account of every site goes, and that is meant: however large a part of all accounts it is.
    everything = Budget(percent=100)
    access, unread = plan_access(alive.nodes, leaving.sites, complete=alive == members, budget=everything)
    outcomes = silent + unread
    for each in access:
        given = open_access([each], only_changed=True)
        outcomes += given if given.failed else given + close_access([each])
    return outcomes
