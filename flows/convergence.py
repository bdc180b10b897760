"""Sites on a fleet: what they have, what they need, and the one way to get there.

add-site, verify-platform and remove-site all go through here, so that there is no second path.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from prefect import unmapped
from pydantic import SecretStr

from blocks import Site
from flows.access import Access, close_access, open_access, plan_access
from flows.gather import gather
from flows.publish import Plan
from flows.release import site_checks
from tasks.errors import PlanRefused
from tasks.fleet import Node, Target
from tasks.outcome import Outcomes
from tasks.sites import SitePlan, choose_seed, make_sites, new_seed, plan_site, read_sites, vhost_for
from tasks.steps import join_outcomes
from tasks.web import (
    ServerConfig,
    WebPlan,
    check_sites,
    find_name_conflicts,
    install_config,
    plan_web,
    read_web_config,
    restore_config,
    test_config,
)


@dataclass(frozen=True, slots=True)
class Convergence:
    """What has to be done so that `fleet` serves `sites`; `unread` are the failures to find out.

    Sites' data and settings are written by the fleet's writers alone; the rest concerns all its nodes.
    """

    sites: tuple[Site, ...]
    fleet: Target
    seeds: Mapping[str, SecretStr]
    data: tuple[SitePlan, ...]
    access: tuple[Access, ...]
    web: Mapping[str, WebPlan]
    unread: Outcomes

    @property
    def nodes(self) -> tuple[Node, ...]:
        return self.fleet.nodes

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Everything to publish, in the order in which it is done."""
        return (*self.data, *(access.plan for access in self.access), *self.web.values())

    def only(self, names: Collection[str]) -> Convergence:
        """The same for none but the named nodes; who reaches the databases is planned for all of them."""
        data = (replace(plan, steps=tuple(s for s in plan.steps if s.host in names)) for plan in self.data)
        web = {name: plan for name, plan in self.web.items() if name in names}
        return replace(self, fleet=self.fleet.only(names), data=tuple(data), web=web)


def plan_convergence(
    fleet: Target, sites: Sequence[Site], *, without: Collection[str] = frozenset()
) -> Convergence:
    """Read what nodes and databases have of `sites`, all of one platform, and plan the difference.

    Nodes that cannot be read are left out and are in `unread`; those in `without` are known not to answer
    and are not asked. Either way nothing is taken from them: a node that is down keeps its access. Raises
    PlanRefused for a site that add-site never made, for a host name that another site has, and for what the
    plans of each subject refuse.
    """
    refuse_without_password(sites)
    asked = fleet.only(set(fleet.node_names) - set(without))
    values = [site.value() for site in sites]
    profile = sites[0].profile()
    configs = gather("read web configuration", read_web_config.map(asked.nodes))
    data = gather("read sites", read_sites.map(asked.writers, unmapped(values), unmapped(profile)))
    unread = configs.unread + data.unread
    readable = asked.only(set(asked.node_names) - unread.failed_hosts)
    seeds, data_plans = {}, []
    for value in values:
        facts = {node.name: data.seen[node.name][value.uri] for node in readable.writers}
        seeds[value.uri] = choose_seed(facts, new_seed())
        data_plans.append(plan_site(value, profile, facts, seeds[value.uri]))
    access, unseen = plan_access(readable.nodes, sites, complete=readable == fleet)
    web = {node.name: plan_vhosts(node, sites, configs.seen[node.name]) for node in readable.nodes}
    return Convergence(tuple(sites), readable, seeds, tuple(data_plans), access, web, unread + unseen)


def plan_vhosts(node: Node, sites: Sequence[Site], facts: ServerConfig) -> WebPlan:
    """Plan the vhosts of `sites` on one node; raises PlanRefused when another site has one of their names."""
    desired = {}
    for site in sites:
        vhost = vhost_for(site.value(), site.profile(), site.credentials())
        conflicts = find_name_conflicts(facts, vhost)
        if conflicts:
            raise PlanRefused(f"{site.uri}: {conflicts[0]}", "Choose another name, or remove it there first")
        desired[site.uri] = vhost
    return plan_web(desired, facts, node.kind)


def open_databases(convergence: Convergence) -> Outcomes:
    """Every site's database exists, and its credentials work from every node that serves it."""
    return open_access(convergence.access, nodes=convergence.fleet.node_names)


def close_databases(convergence: Convergence) -> Outcomes:
    """What no node needs any more is taken back; only after everything else worked."""
    return close_access(convergence.access)


def make_data(convergence: Convergence) -> Outcomes:
    """Every node that writes has the sites' data directories, settings and links."""
    values = [site.value() for site in convergence.sites]
    profile = convergence.sites[0].profile()
    return join_outcomes(
        make_sites.map(
            convergence.fleet.writers, unmapped(values), unmapped(profile), unmapped(dict(convergence.seeds))
        )
    )


def serve_everywhere(nodes: Sequence[Node], web: Mapping[str, WebPlan], sites: Sequence[Site]) -> Outcomes:
    """Every node serves its plan's configuration and `sites` answer; or all have the last good one back."""
    plans = [web[node.name] for node in nodes]
    tested = join_outcomes(test_config.map(nodes, plans))
    if tested.failed:
        return tested
    outcomes = join_outcomes(install_config.map(nodes, plans))
    if not outcomes.failed:
        loaded = [plan.generation for plan in plans]
        outcomes += join_outcomes(check_sites.map(nodes, unmapped(site_checks(sites)), loaded))
    if outcomes.failed:
        outcomes += join_outcomes(restore_config.map(nodes, plans))
    return outcomes


def refuse_without_password(sites: Sequence[Site]) -> None:
    """Raise PlanRefused for sites that an inventory registered and add-site never made."""
    without = [site.uri for site in sites if not site.database_password]
    if without:
        raise PlanRefused(
            f"{', '.join(without)}: registered without a database password",
            "Run add-site first, which makes one",
        )


def refuse_unreleased(nodes: Sequence[Node], current: Mapping[str, str], platform: str) -> None:
    """Raise PlanRefused when a node has no current release of the platform to serve a site from."""
    without = [node.name for node in nodes if not current.get(node.name)]
    if without:
        raise PlanRefused(
            f"platform {platform} is not deployed on {', '.join(without)}", "Run create-platform first"
        )


def in_order(*steps: Callable[[], Outcomes]) -> Outcomes:
    """Do one step after the other; after one in which a host failed, no further one."""
    outcomes = Outcomes()
    for step in steps:
        outcomes += step()
        if outcomes.failed:
            break
    return outcomes
