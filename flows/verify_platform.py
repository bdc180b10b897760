"""verify-platform: converge one platform and its sites to what is registered, on every server that answers.

Trigger: by hand, after a server was repaired or added to the cluster, or when something looks wrong.
Effect: the current release is compared with what was verified there, file by file in a listing; settings,
    data directories, database access and vhosts of every site are compared with what is desired; every site
    is asked for through every server. What differs is put right: a server without the release, or with a
    changed one, gets it again, as long as the source still is what was deployed. Nothing newer is deployed.
    A pack's slave whose php-fpm was not told of the last switch is told.
Rollback: vhosts that do not hold go back by themselves; so does a release that a site does not run on.
Safe to re-run? Yes. A second run changes nothing and says so.
3 a.m.: a server that does not answer is named and the run fails; the others are verified all the same, and
    go on serving. Bring the server back, or take it out of the cluster, and run this again.
"""

from __future__ import annotations

from prefect.client.schemas.objects import State

from blocks import Platform
from flows.convergence import (
    Convergence,
    close_databases,
    make_data,
    open_databases,
    plan_convergence,
    serve_everywhere,
)
from flows.deployment import Deployment, plan_repair
from flows.locks import hold
from flows.operation import operation
from flows.packs import Standing, follow_master, look_at_pack
from flows.publish import conclude, publish_plan
from flows.registry import list_sites_of
from flows.release import carry_out
from flows.standby import copy_afterwards
from tasks.outcome import Outcomes
from tasks.packs import FollowPlan


@operation("verify-platform", runbook=__doc__, run_name="verify {platform.name}")
def verify_platform(platform: Platform, dry_run: bool = False) -> State[Outcomes]:
    """Converge one platform and its sites to what is registered.

    Args:
        platform: The platform to verify.
        dry_run: Only show what differs.
    """
    fleet, about = platform.resolve(), f"verify {platform.name}"
    databases = {site.database.name: site.database.database() for site in list_sites_of(platform.name)}
    with hold(fleet, *databases.values()):
        # Again: whoever held the locks until now may have changed a site, its password above all.
        sites = [site for site in list_sites_of(platform.name) if site.database.name in databases]
        standing = look_at_pack(fleet, about, platform.name)
        repair, outcomes = plan_repair(platform, standing)
        late = find_late(platform.name, repair, standing)
        outcomes = standing.unread + outcomes
        failed = outcomes.failed_hosts
        alive = fleet.only(set(fleet.node_names) - failed)
        work = plan_convergence(fleet, sites, without=failed) if sites and alive.nodes else None
        publish_plan(about, *(repair.plans if repair else late), *(work.plans if work else ()))
        outcomes += work.unread if work else Outcomes()
        if not dry_run:
            outcomes += carry_out(repair) if repair else Outcomes()
            for plan in late:
                outcomes += follow_master(plan, alive, plan.release)
            outcomes += converge(work)
        outcomes += copy_afterwards(fleet, outcomes)
    return conclude(about, outcomes)


def find_late(platform: str, repair: Deployment | None, standing: Standing) -> tuple[FollowPlan, ...]:
    """The slaves whose php-fpm was not told of the current release, where nothing else is wrong with it."""
    seen = {facts.current for facts in standing.followers.values()}
    late = standing.following(platform, max(seen, default=""), switching=False)
    return (late,) if late and not repair else ()


def converge(work: Convergence | None) -> Outcomes:
    """Put the sites right; what fails in one part does not keep the other parts from it."""
    outcomes = Outcomes()
    if work is None:
        return outcomes
    for part in (make_data, open_databases):
        outcomes += part(work)
    outcomes += serve_everywhere(work.nodes, work.web, work.sites)
    if not outcomes.failed:
        outcomes += close_databases(work)
    return outcomes
