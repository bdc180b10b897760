"""add-node: one more server for a cluster, or one more slave for a pack, which is listed when it serves.

Trigger: by hand or by another system, for a server that is registered and bare, or was a member before.
Effect: the server is prepared; on a pack the share is exported to it and mounted; the current release of
    every platform of the target is there (in a cluster a copy of what the other members run, whatever has
    become of its source since); every site is configured there, its database opened to the address that the
    database sees the server under, and asked for over HTTP. Only then it is listed as a member, so that no
    other flow and no load balancer that follows the block sees it any sooner.
Rollback: when a site does not answer, the server serves none, and is not listed. What it was granted is taken
    back by the next verify-platform. To undo a server that was listed, run remove-node.
Safe to re-run? Yes, at any point and after a kill. For a member it puts right what differs on it.
3 a.m.: the other members go on as they were, whatever happens here. One of them that does not answer, or the
    share's standby, is named, and the run ends as failed, but the new one is added all the same when the rest
    is well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from prefect import unmapped
from prefect.client.schemas.objects import State

from blocks import Cluster, Pack, Platform, Site
from flows.controller import work_directory
from flows.convergence import in_order, make_data, open_databases, plan_convergence, serve_everywhere
from flows.gather import gather
from flows.locks import hold
from flows.membership import enlist, members_of, platforms_on, with_members
from flows.operation import operation
from flows.packs import follow_master, look_at_pack
from flows.provision import Provision, plan_provision, provision
from flows.publish import Plan, announce, conclude, publish_plan
from tasks.code import CodeFacts, Desired, plan_release, read_code, stage, switch
from tasks.code.release import ReleasePlan, Size
from tasks.errors import PlanRefused
from tasks.fleet import Node, Target
from tasks.membership import AccountIds, choose_ids, copy_code, plan_joining, read_ids, read_release_manifest
from tasks.outcome import Outcome, Outcomes
from tasks.servers import (
    DesiredServer,
    ServerPlan,
    apply_server_plan,
    desired_server,
    plan_server,
    read_server_facts,
    verify_server,
)
from tasks.steps import join_outcomes


@dataclass(frozen=True, slots=True)
class Preparing:
    """What makes a server of a cluster ready."""

    desired: DesiredServer
    plan: ServerPlan


@dataclass(frozen=True, slots=True)
class Joining:
    """A server that is to be a member: `fleet` has it already, `silent` are members that do not answer."""

    about: str
    target: Cluster | Pack
    fleet: Target
    node: Node
    platforms: tuple[tuple[Platform, tuple[Site, ...]], ...]
    silent: frozenset[str]
    preparing: Preparing | Provision

    @property
    def plans(self) -> tuple[Plan, ...]:
        """What makes the server ready, before anything of the target is on it."""
        preparing = self.preparing
        return preparing.plans if isinstance(preparing, Provision) else (preparing.plan,)


@operation("add-node", runbook=__doc__, run_name="add {server} to {target.name}")
def add_node(target: Cluster | Pack, server: str, dry_run: bool = False) -> State[Outcomes]:
    """Add one server to a cluster, or one slave to a pack.

    Args:
        target: The cluster or pack that gets one more member.
        server: Name of the web server to add, as it is registered.
        dry_run: Only show what would be done.
    """
    about, names = f"add {server} to {target.name}", members_of(target)
    listed = server in names
    fleet = (target if listed else with_members(target, [*names, server])).resolve()
    databases = [site.database.database() for _, sites in platforms_on(target) for site in sites]
    with hold(fleet, *databases):
        joining, outcomes = look(about, target, fleet, server)
        wanted = {platform.name: tuple(s.uri for s in sites) for platform, sites in joining.platforms}
        joins = plan_joining(fleet, server, wanted, ready=not any(joining.plans), listed=listed)
        publish_plan(about, *joining.plans, joins)
        if not dry_run:
            done = in_order(*steps_of(joining))
            outcomes += done
            if not done.failed:
                outcomes += [enlist(target, server)]
                announce("node.added", server, {"target": target.name})
    return conclude(about, outcomes)


def look(about: str, target: Cluster | Pack, fleet: Target, server: str) -> tuple[Joining, Outcomes]:
    """Find out who answers and what the server lacks; the Outcomes are the others that are silent."""
    members = [node for node in fleet.nodes if node.name != server]
    (node,) = (node for node in fleet.nodes if node.name == server)
    ids = gather("ask members", read_ids.map(members))
    if fleet.master in ids.missing:
        raise PlanRefused(
            f"{fleet.master}, the master of pack {fleet.name}, does not answer", "Bring it back"
        )
    preparing = plan_preparing(fleet, node, ids.seen)
    unread = ids.unread + (preparing.unread if isinstance(preparing, Provision) else Outcomes())
    silent = frozenset(ids.missing)
    return Joining(about, target, fleet, node, platforms_on(target), silent, preparing), unread


def plan_preparing(fleet: Target, node: Node, ids: Mapping[str, AccountIds]) -> Preparing | Provision:
    """Plan what makes the server ready, and on a pack mounts the share; HostsFailed when it is silent.

    That a standby is, as it often is after a failover, keeps nobody from joining.
    """
    if fleet.share is not None:
        work = plan_provision(fleet, [node])
        if node.name in work.unread.failed_hosts:
            work.unread.raise_if_failed()
        return work
    chosen = choose_ids(ids, node.name)
    desired = desired_server(node, chosen.uid, chosen.gid)
    facts = gather("read server", [read_server_facts.submit(node, desired)])
    facts.unread.raise_if_failed()
    return Preparing(desired, plan_server(desired, facts.seen[node.name]))


def steps_of(joining: Joining) -> list[Callable[[], Outcomes]]:
    """What is done on the server, in this order, up to the first step that fails."""
    steps: list[Callable[[], Outcomes]] = [partial(prepare, joining)]
    for platform, sites in joining.platforms:
        steps.append(partial(bring_release, joining, platform))
        if sites:
            steps.append(partial(serve, joining, sites))
    return steps


def prepare(joining: Joining) -> Outcomes:
    """The server is ready to carry platforms; on a pack it has mounted the share, as the other slaves do."""
    node, preparing = joining.node, joining.preparing
    if isinstance(preparing, Provision):
        return provision(preparing)
    return in_order(
        lambda: join_outcomes([apply_server_plan.submit(node, preparing.plan)]),
        lambda: join_outcomes([verify_server.submit(node, preparing.desired)]),
    )


def bring_release(joining: Joining, platform: Platform) -> Outcomes:
    """The server runs the platform's current release: it sees it through the share, or has its own copy."""
    name, fleet, node = platform.name, joining.fleet, joining.node
    if fleet.share is not None:
        standing = look_at_pack(fleet.only({fleet.master, node.name}), joining.about, name, quorum=None)
        release = standing.followers[node.name].current
        return follow_master(standing.following(name, release, switching=False), fleet, release or None)
    members = [member for member in fleet.nodes if member.name not in joining.silent]
    facts = gather("read releases", read_code.map(members, unmapped(name)))
    if facts.unread:
        return facts.unread
    others = {host: seen for host, seen in facts.seen.items() if host != node.name}
    donors = [member for member in members if member.name in others and others[member.name].current_release]
    if not donors:
        return Outcomes((Outcome(node.name, "stage", detail=f"{name} is deployed nowhere yet"),))
    refuse_different(name, others)
    return copy_from(donors[0], joining, platform, facts.seen)


def refuse_different(platform: str, facts: dict[str, CodeFacts]) -> None:
    """Raise PlanRefused when the members do not all run the same, unchanged release."""
    current = {host: seen.current_release for host, seen in sorted(facts.items())}
    wrong = [host for host, release in current.items() if release is None or release.drifted]
    if wrong or len({release.content for release in current.values() if release}) > 1:
        shown = ", ".join(
            f"{host} {release.name if release else 'none'}" for host, release in current.items()
        )
        raise PlanRefused(
            f"the members do not run the same release of {platform}, or it was changed there: {shown}",
            "Run verify-platform first",
        )


def copy_from(donor: Node, joining: Joining, platform: Platform, facts: dict[str, CodeFacts]) -> Outcomes:
    """The server has the release that the donor runs, checked against its manifest, as its current one."""
    name, node, workdir = platform.name, joining.node, work_directory()
    release = facts[donor.name].current or ""
    manifests = gather("read manifest", [read_release_manifest.submit(donor, name, release)])
    if manifests.unread:
        return manifests.unread
    manifest = manifests.seen[donor.name]
    desired = Desired(manifest.digest, Size(len(manifest), manifest.size), {})
    plan = narrow(plan_release(name, desired, facts, now=datetime.now(UTC)), node)
    if not plan:
        return Outcomes((Outcome(node.name, "stage", detail=f"{name}: {plan.release} is current"),))
    copies = gather("copy release", [copy_code.submit(donor, name, release, manifest, workdir)])
    if copies.unread:
        return copies.unread
    return in_order(
        lambda: join_outcomes([stage.submit(node, plan, copies.seen[donor.name], workdir)]),
        lambda: join_outcomes([switch.submit(node, plan)]),
    )


def narrow(plan: ReleasePlan, node: Node) -> ReleasePlan:
    """The part of one node: what differs on the others is verify-platform's business."""
    return replace(plan, hosts=(plan.for_host(node.name),), quorum=1, missing=())


def serve(joining: Joining, sites: tuple[Site, ...]) -> Outcomes:
    """The server has the sites' settings and vhosts, reaches their databases, and they answer through it."""
    work = plan_convergence(joining.fleet, sites, without=joining.silent)
    mine = work.only({joining.node.name})
    publish_plan(f"{joining.about} {sites[0].platform.name}", *mine.plans)
    if work.unread:
        return work.unread
    return in_order(
        lambda: make_data(mine),
        lambda: open_databases(mine),
        lambda: serve_everywhere(mine.nodes, mine.web, mine.sites),
    )
