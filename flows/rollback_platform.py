"""rollback-platform: make an older release current again, on every server of the platform.

Trigger: by hand, when a deployment turned out to be bad after it was switched.
Effect: the newest older release that all servers still have, undamaged, becomes current everywhere or
    nowhere; php-fpm is reloaded and every site that answered before is asked again. Nothing is transferred,
    nothing is deleted. On a pack its master goes back, and the slaves follow.
Rollback: create-platform, or rollback-platform with the name of the release to return to.
Safe to re-run? With a release's name, yes: a second run changes nothing. Without one, each run goes one back.
3 a.m.: databases are not rolled back. When the application changed its tables, restore them from its backup.
"""

from __future__ import annotations

from prefect import unmapped
from prefect.client.schemas.objects import State

from blocks import Platform
from flows.gather import gather
from flows.locks import hold
from flows.operation import operation
from flows.packs import look_at_pack
from flows.publish import announce, conclude, explaining, publish_plan
from flows.registry import list_sites_of
from flows.release import as_desired, switch_everywhere
from flows.standby import copy_afterwards
from tasks.code import plan_rollback, read_code
from tasks.outcome import Outcomes
from tasks.sites import link_sites, load_profile
from tasks.steps import join_outcomes


@operation("rollback-platform", runbook=__doc__, run_name="roll {platform.name} back")
def rollback_platform(platform: Platform, release: str = "", dry_run: bool = False) -> State[Outcomes]:
    """Make an older release current again, on every server of the platform.

    Args:
        platform: The platform to roll back.
        release: The release to go to, as it is called in the plan tables; empty for the one before.
        dry_run: Only show what would be done.
    """
    fleet, about, name = platform.resolve(), f"roll {platform.name} back", platform.name
    with hold(fleet):
        standing = look_at_pack(fleet, about, name, quorum=None)
        facts = gather("read releases", read_code.map(fleet.writers, unmapped(name), unmapped("all")))
        with explaining(about, facts.unread):
            plan = plan_rollback(name, facts.seen, to=release or None, missing=facts.missing)
        following = standing.following(name, plan.release, switching=bool(plan.switching_hosts))
        publish_plan(about, plan, *([following] if fleet.followers else []))
        outcomes = facts.unread
        if not dry_run:
            sites, profile = list_sites_of(name), load_profile(platform.profile)
            values = [site.value() for site in sites]
            if profile.link and values:
                names = (unmapped(name), unmapped(plan.release))
                outcomes += join_outcomes(
                    link_sites.map(fleet.writers, unmapped(values), unmapped(profile), *names)
                )
            if not outcomes.failed:
                outcomes += switch_everywhere(plan, following, fleet, sites)
            if plan.switching_hosts and not outcomes.failed:
                announce("platform.switched", name, {"release": plan.release})
        outcomes += copy_afterwards(fleet, outcomes)
    return conclude(about, outcomes or as_desired("release", plan.release, fleet))
