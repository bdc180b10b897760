"""What a deployment is going to do: the source built, servers read, the release planned; nothing touched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from prefect import unmapped
from prefect.futures import PrefectFuture

from blocks import Platform, Site
from flows.controller import work_directory
from flows.gather import Facts, gather
from flows.packs import Standing
from flows.publish import Plan, explaining
from flows.registry import list_sites_of
from tasks.code import (
    Audit,
    Built,
    CodeFacts,
    Manifest,
    ReleasePlan,
    build_code,
    describe_release,
    parse_source,
    plan_release,
    read_code,
)
from tasks.errors import PlanRefused
from tasks.names import check_docroot
from tasks.outcome import Outcomes
from tasks.packs import FollowPlan
from tasks.sites.profiles import load_profile, overlay_files


@dataclass(frozen=True, slots=True)
class Deployment:
    """A built source and how it gets to the target: nothing has been touched yet.

    `sites` are all that run on the platform.
    """

    platform: Platform
    sites: tuple[Site, ...]
    built: Built
    plan: ReleasePlan
    following: FollowPlan
    standing: Standing
    unread: Outcomes

    @property
    def plans(self) -> tuple[Plan, ...]:
        """Everything to publish; a target without slaves has no plan for them."""
        return (self.plan, self.following) if self.standing.fleet.followers else (self.plan,)


def start_building(platform: Platform, *, composer: bool) -> PrefectFuture[Built]:
    """The platform's source is being built, beside whatever the run does meanwhile; no server is touched.

    Raises PlanRefused for what cannot be a source.
    """
    profile = load_profile(platform.profile)
    spec = parse_source(platform.source, platform.ref, platform.checksum)
    overlay, inside = overlay_files(profile, platform.docroot), check_docroot(platform.docroot)
    excluded = [f"{inside}/{path}".lstrip("/") for path in profile.excluded]
    return build_code.submit(spec, overlay, work_directory(), composer=composer, excluded=excluded)


def plan_deployment(
    platform: Platform, standing: Standing, building: PrefectFuture[Built], *, quorum: int | None
) -> Deployment:
    """Plan the release of the source that is being built; raises PlanRefused with what stands in the way."""
    asked = read_code.map(standing.fleet.writers, unmapped(platform.name), unmapped("none"))
    sites = list_sites_of(platform.name)
    # First what is being read: a run that ends meanwhile cuts it off, and it would say that hosts are away.
    facts = gather("read releases", asked)
    built = building.result()
    refuse_missing_docroot(built.manifest, platform.docroot, platform.source)
    facts = look_closer(facts, platform, built, standing, "current")
    deployment = plan_built(facts, platform, built, standing, sites, quorum)
    if set(deployment.plan.switching_hosts) - set(deployment.plan.staging_hosts):
        # Only current releases were looked at, and one that was changed since must not become current again.
        facts = look_closer(facts, platform, built, standing, "all")
        deployment = plan_built(facts, platform, built, standing, sites, quorum)
    return deployment


def look_closer(
    facts: Facts[CodeFacts], platform: Platform, built: Built, standing: Standing, audit: Audit
) -> Facts[CodeFacts]:
    """Facts in which releases that are to stay, or to become current again, were looked at file by file.

    A current release that is to be replaced is looked at when it is copied, and not before.
    """
    content = built.manifest.digest
    doubtful = [
        node
        for node in standing.fleet.writers
        if (there := facts.seen.get(node.name)) is not None
        and (audit == "all" or (there.current_release and there.current_release.content == content))
    ]
    if not doubtful:
        return facts
    name = unmapped(platform.name)
    closer = gather("read releases", read_code.map(doubtful, name, unmapped(audit), unmapped(content)))
    lost = {outcome.host for outcome in closer.unread}
    seen = {host: closer.seen.get(host, there) for host, there in facts.seen.items() if host not in lost}
    return Facts(seen, facts.unread + closer.unread)


def plan_built(
    facts: Facts[CodeFacts],
    platform: Platform,
    built: Built,
    standing: Standing,
    sites: tuple[Site, ...],
    quorum: int | None,
) -> Deployment:
    """The plan by which the servers of `facts` have what was built; raises PlanRefused."""
    name, now, writers = platform.name, datetime.now(UTC), standing.fleet.writers
    desired = describe_release(built, name, facts.seen, writers, work_directory())
    keep, missing = platform.keep_releases, facts.missing
    if standing.fleet.share is not None:
        quorum = None  # counted over all nodes of the pack already; of those that write, there is one
    with explaining(f"deploy {name}", facts.unread):
        plan = plan_release(name, desired, facts.seen, now=now, missing=missing, quorum=quorum, keep=keep)
    following = standing.following(name, plan.release, switching=bool(plan.switching_hosts))
    return Deployment(platform, sites, built, plan, following, standing, facts.unread)


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
