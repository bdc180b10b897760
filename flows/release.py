"""Releases on a whole target: switched everywhere or nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prefect import get_run_logger, unmapped
from prefect.client.schemas.objects import State

from blocks import Platform, Site
from flows.controller import work_directory
from flows.deployment import Deployment, plan_deployment, start_building
from flows.gather import Facts, gather
from flows.locks import hold
from flows.packs import follow_master, look_at_pack, look_through_share
from flows.publish import announce, conclude, publish_plan
from flows.standby import copy_afterwards
from tasks.code import (
    ReleasePlan,
    prune,
    stage,
    switch,
    switch_back,
)
from tasks.errors import PlanRefused
from tasks.fleet import Target
from tasks.outcome import Outcome, Outcomes
from tasks.packs import FollowPlan
from tasks.sites.plan import link_path
from tasks.sites.profiles import load_profile
from tasks.steps import join_outcomes
from tasks.web import Answering, SiteCheck, check_sites, find_answering


def deploy(
    wanted: Platform, registered: Platform | None, *, quorum: int | None, composer: bool, dry_run: bool
) -> State[Outcomes]:
    """The platform's source is a release, current on every server of its target; its block says so.

    `registered` is the platform as this run has read it, if there is one.
    """
    fleet, about = wanted.resolve(), f"deploy {wanted.name}"
    building = start_building(wanted, composer=composer)
    with hold(fleet) as overtaken:
        if overtaken:
            # Whoever was here meanwhile may have deployed a source that is newer than what was read of it.
            building.wait()
            building = start_building(wanted, composer=composer)
        standing = look_at_pack(fleet, about, wanted.name, quorum)
        deployment = plan_deployment(wanted, standing, building, quorum=quorum)
        publish_plan(about, *deployment.plans)
        outcomes = standing.unread + deployment.unread
        if not dry_run:
            wanted.register(registered)
            outcomes += carry_out(deployment)
        outcomes += copy_afterwards(fleet, outcomes)
    return conclude(about, outcomes)


def carry_out(deployment: Deployment) -> Outcomes:
    """Stage the release everywhere, then switch everywhere or nowhere, then prune what is too old."""
    plan, platform, fleet = deployment.plan, deployment.platform, deployment.standing.fleet
    if not plan and not deployment.following:
        return as_desired("release", plan.release, fleet)
    staging = [node for node in fleet.nodes if node.name in plan.staging_hosts]
    links = site_links(platform, deployment.sites)
    outcomes = join_outcomes(
        stage.map(
            staging,
            unmapped(plan),
            unmapped(deployment.built),
            unmapped(work_directory()),
            unmapped(links),
        )
    )
    try:
        plan = plan.without_hosts(outcomes.failed_hosts)
    except PlanRefused as refused:
        return outcomes + Outcomes((Outcome(fleet.name, "switch", error=str(refused)),))
    switched = switch_everywhere(plan, deployment.following, fleet, deployment.sites)
    outcomes += switched
    # A host that could not be staged fails the run, and is no reason to be silent about what the others did.
    if not switched.failed:
        pruning = [node for node in fleet.nodes if node.name in plan.pruning_hosts]
        outcomes += join_outcomes(prune.map(pruning, unmapped(plan)))
        # Observed on the servers, so that a first run that was killed does not swallow it.
        if plan.switching_hosts and not any(host.previous for host in plan.hosts):
            announce("platform.created", platform.name, {"release": plan.release})
        announce_switch(plan)
    return outcomes


def announce_switch(plan: ReleasePlan) -> None:
    """Other systems know that the plan's release is current, when it was not before."""
    if plan.switching_hosts:
        announce("platform.switched", plan.platform, {"release": plan.release})


def as_desired(step: str, detail: str, fleet: Target) -> Outcomes:
    """One unchanged Outcome for each server, so that a table says what was found and not nothing."""
    return Outcomes(tuple(Outcome(node.name, step, detail=detail) for node in fleet.nodes))


def switch_everywhere(
    plan: ReleasePlan, following: FollowPlan, fleet: Target, sites: Sequence[Site]
) -> Outcomes:
    """The plan's release is current on all its hosts and their sites answer; or all went back.

    Slaves have seen the whole release before anything is switched, follow their master's switch, and follow
    it back. Only sites that answered before have to answer afterwards: a broken site must not keep its own
    repair out. It is named.
    """
    hosts = [node for node in fleet.nodes if node.name in plan.switching_hosts]
    asked = [*hosts, *(node for node in fleet.followers if node.name in following.hosts)]
    outcomes = look_through_share(following, fleet)
    if not asked or outcomes.failed:
        return outcomes
    wanted = site_checks(sites)
    asking = find_answering.map(asked, unmapped(wanted)) if wanted else []
    answering = gather("ask sites", asking)
    outcomes += name_unchecked(answering)
    outcomes += join_outcomes(switch.map(hosts, unmapped(plan)))
    if not outcomes.failed:
        outcomes += follow_master(following, fleet, plan.release)
    if wanted and not outcomes.failed:
        checks = [answering.seen.get(node.name, Answering()).holding for node in asked]
        outcomes += join_outcomes(check_sites.map(asked, checks))
    if outcomes.failed and hosts:
        outcomes += join_outcomes(switch_back.map(hosts, unmapped(plan)))
        outcomes += follow_master(following, fleet, plan.for_host(fleet.master).previous)
    return outcomes


def name_unchecked(answering: Facts[Answering]) -> Outcomes:
    """An Outcome for each host whose sites did not all answer before the switch: which, and why."""
    silent = {host: "\n".join(found.failing) for host, found in answering.seen.items() if found.failing}
    silent |= {outcome.host: outcome.error or "" for outcome in answering.unread}
    for host, why in silent.items():
        get_run_logger().warning("%s: not healthy before the switch, so not checked after it: %s", host, why)
    return Outcomes(
        tuple(
            Outcome(host, "not checked", detail=f"not healthy before the switch: {why}")
            for host, why in silent.items()
        )
    )


def site_checks(sites: Sequence[Site]) -> tuple[SiteCheck, ...]:
    """What each enabled site has to answer, by its profile."""
    enabled = [(site.uri, load_profile(site.platform.profile)) for site in sites if site.enabled]
    return tuple(
        SiteCheck(uri, profile.health_path, setup_pages=profile.setup_pages) for uri, profile in enabled
    )


def site_links(platform: Platform, sites: Sequence[Site]) -> Mapping[str, str]:
    """The links from the code to the sites' data that each release of the platform needs (Drupal)."""
    profile = load_profile(platform.profile)
    links = {}
    for block in sites:
        site = block.value()
        path = link_path(site, profile, "release")
        if path is not None:
            links[path.removeprefix("release/")] = site.directory
    return links
