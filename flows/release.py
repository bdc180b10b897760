"""Releases on a whole target: switched everywhere or nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from prefect import unmapped
from prefect.client.schemas.objects import State

from blocks import Platform, Site
from flows.controller import work_directory
from flows.gather import gather
from flows.locks import hold
from flows.packs import Standing, follow_master, look_at_pack, look_through_share
from flows.publish import Plan, announce, conclude, explaining, publish_plan
from flows.registry import list_sites_of
from flows.standby import copy_afterwards
from tasks.code import (
    Audit,
    Built,
    Manifest,
    ReleasePlan,
    build_code,
    describe_release,
    parse_source,
    plan_release,
    prune,
    read_code,
    stage,
    switch,
    switch_back,
)
from tasks.errors import PlanRefused
from tasks.fleet import Target
from tasks.names import check_docroot
from tasks.outcome import Outcome, Outcomes
from tasks.packs import FollowPlan
from tasks.sites.plan import link_path
from tasks.sites.profiles import load_profile, overlay_files
from tasks.steps import join_outcomes
from tasks.web import SiteCheck, check_sites, find_answering

SOURCE_MOVED = "the source has changed since the release was deployed: run create-platform; here is"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A built source and how it gets to the target: nothing has been touched yet."""

    platform: Platform
    built: Built
    plan: ReleasePlan
    following: FollowPlan
    standing: Standing
    unread: Outcomes

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Everything to publish; a target without slaves has no plan for them."""
        return (self.plan, self.following) if self.standing.fleet.followers else (self.plan,)


def deploy(wanted: Platform, *, quorum: int | None, composer: bool, dry_run: bool) -> State[Outcomes]:
    """The platform's source is a release, current on every server of its target; its block says so."""
    fleet, about = wanted.resolve(), f"deploy {wanted.name}"
    with hold(fleet):
        standing = look_at_pack(fleet, about, wanted.name, quorum)
        deployment = plan_deployment(wanted, standing, quorum=quorum, composer=composer)
        publish_plan(about, *deployment.plans)
        outcomes = standing.unread + deployment.unread
        if not dry_run:
            wanted.register()
            outcomes += carry_out(deployment)
        outcomes += copy_afterwards(fleet, outcomes)
    return conclude(about, outcomes)


def plan_deployment(
    platform: Platform, standing: Standing, *, quorum: int | None, composer: bool
) -> Deployment:
    """Build the platform's source and plan its release; raises PlanRefused with what stands in the way."""
    profile = load_profile(platform.profile)
    spec = parse_source(platform.source, platform.ref, platform.checksum)
    overlay, inside = overlay_files(profile, platform.docroot), check_docroot(platform.docroot)
    excluded = [f"{inside}/{path}".lstrip("/") for path in profile.excluded]
    built = build_code(spec, overlay, work_directory(), composer=composer, excluded=excluded)
    refuse_missing_docroot(built.manifest, platform.docroot, platform.source)
    deployment = _plan_from("current", platform, built, standing, quorum)
    if set(deployment.plan.switching_hosts) - set(deployment.plan.staging_hosts):
        # Only current releases were looked at, and one that was changed since must not become current again.
        deployment = _plan_from("all", platform, built, standing, quorum)
    return deployment


def _plan_from(
    audit: Audit, platform: Platform, built: Built, standing: Standing, quorum: int | None
) -> Deployment:
    name, now, writers = platform.name, datetime.now(UTC), standing.fleet.writers
    content = unmapped(built.manifest.digest)
    facts = gather("read releases", read_code.map(writers, unmapped(name), unmapped(audit), content))
    desired = describe_release(built, name, facts.seen, writers, work_directory())
    keep, missing = platform.keep_releases, facts.missing
    if standing.fleet.share is not None:
        quorum = None  # counted over all nodes of the pack already; of those that write, there is one
    with explaining(f"deploy {name}", facts.unread):
        plan = plan_release(name, desired, facts.seen, now=now, missing=missing, quorum=quorum, keep=keep)
    following = standing.following(name, plan.release, switching=bool(plan.switching_hosts))
    return Deployment(platform, built, plan, following, standing, facts.unread)


def plan_repair(platform: Platform, standing: Standing) -> tuple[Deployment | None, Outcomes]:
    """Find out whether every server that answers has the same, unchanged release; else plan that it does.

    Returns None where there is nothing to repair, and the Outcomes of reading. The release to have is what
    the source still is; where the source has moved on, nothing can be repaired and each server that needs it
    is a failed Outcome.
    """
    name = platform.name
    facts = gather("read releases", read_code.map(standing.fleet.writers, unmapped(name)))
    intact = {
        host: seen.current_release.content
        for host, seen in facts.seen.items()
        if seen.current_release and not seen.current_release.drifted
    }
    found = tuple(
        Outcome(host, "verify release", detail=f"{facts.seen[host].current} is as it was deployed")
        for host in intact
    )
    if len(intact) == len(facts.seen) and len(set(intact.values())) == 1:
        return None, facts.unread + found
    if not facts.seen:
        return None, facts.unread
    alive = standing.fleet.only(set(standing.fleet.node_names) - set(facts.missing))
    deployment = plan_deployment(platform, replace(standing, fleet=alive), quorum=None, composer=True)
    if intact and deployment.plan.content not in intact.values():
        wrong = [
            Outcome(host, "verify release", error=f"{SOURCE_MOVED} {facts.seen[host].current or 'nothing'}")
            for host in facts.seen
            if host not in intact
        ]
        return None, facts.unread + found + wrong
    return deployment, facts.unread + found


def carry_out(deployment: Deployment) -> Outcomes:
    """Stage the release everywhere, then switch everywhere or nowhere, then prune what is too old."""
    plan, platform, fleet = deployment.plan, deployment.platform, deployment.standing.fleet
    if not plan and not deployment.following:
        return as_desired("release", plan.release, fleet)
    sites = list_sites_of(platform.name)
    staging = [node for node in fleet.nodes if node.name in plan.staging_hosts]
    links = site_links(platform, sites)
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
    outcomes += switch_everywhere(plan, deployment.following, fleet, sites)
    pruning = [node for node in fleet.nodes if node.name in plan.pruning_hosts]
    if not outcomes.failed:
        outcomes += join_outcomes(prune.map(pruning, unmapped(plan)))
        if plan.switching_hosts:
            # Observed on the servers, so that a first run that was killed does not swallow it.
            if not any(host.previous for host in plan.hosts):
                announce("platform.created", platform.name, {"release": plan.release})
            announce("platform.switched", platform.name, {"release": plan.release})
    return outcomes


def as_desired(step: str, detail: str, fleet: Target) -> Outcomes:
    """One unchanged Outcome for each server, so that a table says what was found and not nothing."""
    return Outcomes(tuple(Outcome(node.name, step, detail=detail) for node in fleet.nodes))


def switch_everywhere(
    plan: ReleasePlan, following: FollowPlan, fleet: Target, sites: Sequence[Site]
) -> Outcomes:
    """The plan's release is current on all its hosts and their sites answer; or all went back.

    Slaves have seen the whole release before anything is switched, follow their master's switch, and follow
    it back. Only sites that answered before have to answer afterwards: a broken site must not keep its own
    repair out.
    """
    hosts = [node for node in fleet.nodes if node.name in plan.switching_hosts]
    asked = [*hosts, *(node for node in fleet.followers if node.name in following.hosts)]
    outcomes = look_through_share(following, fleet)
    if not asked or outcomes.failed:
        return outcomes
    wanted = site_checks(sites)
    answering = gather("ask sites", find_answering.map(asked, unmapped(wanted))).seen if wanted else {}
    outcomes += join_outcomes(switch.map(hosts, unmapped(plan)))
    if not outcomes.failed:
        outcomes += follow_master(following, fleet, plan.release)
    if wanted and not outcomes.failed:
        checks = [answering.get(node.name, ()) for node in asked]
        outcomes += join_outcomes(check_sites.map(asked, checks))
    if outcomes.failed and hosts:
        outcomes += join_outcomes(switch_back.map(hosts, unmapped(plan)))
        outcomes += follow_master(following, fleet, plan.for_host(fleet.master).previous)
    return outcomes


def site_checks(sites: Sequence[Site]) -> tuple[SiteCheck, ...]:
    """What each enabled site has to answer, by its profile."""
    return tuple(
        SiteCheck(site.uri, load_profile(site.platform.profile).health_path) for site in sites if site.enabled
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


def refuse_missing_docroot(manifest: Manifest, docroot: str, source: str) -> None:
    """Raise PlanRefused when the source has no such directory, before anything is sent."""
    inside = check_docroot(docroot)
    entry = manifest.by_path.get(inside.encode()) if inside else None
    if inside and (entry is None or entry.kind != "d"):
        tops = sorted({path.split(b"/")[0] for path, e in manifest.by_path.items() if e.kind == "d"})
        raise PlanRefused(
            f"{source} has no directory {inside} to serve",
            f"Its directories are {b', '.join(tops[:20]).decode('utf-8', 'replace') or '(none)'}",
        )
