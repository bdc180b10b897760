"""rollback-platform: make an older release current again, on every server of the platform.

Trigger: by hand, when a deployment turned out to be bad after it was switched.
Effect: the newest older release that all servers still have, undamaged, becomes current everywhere or
    nowhere; php-fpm is reloaded and every site that answered before is asked again. Nothing is transferred,
    nothing is deleted. On a pack its master goes back, and the slaves follow. With a quorum, a server that
    does not answer keeps nobody from going back; it is named, and the run fails for it.
Rollback: create-platform, or rollback-platform with the name of the release to return to.
Safe to re-run? With a release's name, yes: a second run changes nothing. Without one, each run goes one back.
3 a.m.: a server that is down keeps the others from going back: run it again with a smaller quorum, and
    verify-platform when that server is back. Databases are not rolled back. When the application changed its
    tables, restore them from its backup.
"""

from __future__ import annotations

from prefect import unmapped
from prefect.client.schemas.objects import State

from blocks import Platform
from flows.create_platform import Quorum
from flows.gather import gather
from flows.locks import hold
from flows.operation import operation
from flows.packs import look_at_pack
from flows.publish import conclude, explaining, publish_plan
from flows.registry import list_sites_of
from flows.release import announce_switch, as_desired, switch_everywhere
from flows.standby import copy_afterwards
from tasks.code import ReleasePlan, plan_rollback, read_code
from tasks.fleet import Target
from tasks.outcome import Outcomes
from tasks.packs import FollowPlan
from tasks.sites import link_sites, load_profile
from tasks.steps import join_outcomes


@operation("rollback-platform", runbook=__doc__, run_name="roll {platform.name} back")
def rollback_platform(
    platform: Platform, release: str = "", quorum: Quorum = None, dry_run: bool = False
) -> State[Outcomes]:
    """Make an older release current again, on every server of the platform.

    Args:
        platform: The platform to roll back.
        release: The release to go to, as it is called in the plan tables; empty for the one before.
        quorum: How many servers must answer and have the release; empty for all of them.
        dry_run: Only show what would be done.
    """
    fleet, about, name = platform.resolve(), f"roll {platform.name} back", platform.name
    with hold(fleet):
        standing = look_at_pack(fleet, about, name, quorum)
        alive = standing.fleet
        facts = gather("read releases", read_code.map(alive.writers, unmapped(name), unmapped("all")))
        # Counted over all nodes of a pack already; of those that write, there is one.
        needed = quorum if fleet.share is None else None
        with explaining(about, facts.unread):
            plan = plan_rollback(name, facts.seen, to=release or None, missing=facts.missing, quorum=needed)
        following = standing.following(name, plan.release, switching=bool(plan.switching_hosts))
        publish_plan(about, plan, *([following] if fleet.followers else []))
        outcomes = standing.unread + facts.unread
        if not dry_run:
            outcomes += go_back(platform, plan, following, alive)
        outcomes += copy_afterwards(fleet, outcomes)
    return conclude(about, outcomes or as_desired("release", plan.release, fleet))


def go_back(platform: Platform, plan: ReleasePlan, following: FollowPlan, fleet: Target) -> Outcomes:
    """The plan's release is current on all its hosts, with the links to its sites; or all are as before."""
    sites, profile = list_sites_of(platform.name), load_profile(platform.profile)
    values = [site.value() for site in sites]
    outcomes = Outcomes()
    if profile.link and values:
        names = (unmapped(platform.name), unmapped(plan.release))
        writers = [node for node in fleet.writers if node.name not in plan.missing]
        outcomes += join_outcomes(link_sites.map(writers, unmapped(values), unmapped(profile), *names))
    if not outcomes.failed:
        outcomes += switch_everywhere(plan, following, fleet, sites)
    if not outcomes.failed:
        announce_switch(plan)
    return outcomes
