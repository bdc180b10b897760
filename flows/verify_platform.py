"""verify-platform: converge one platform and its sites to what is registered, on every server that answers.

Trigger: by hand, after a server was repaired or added to the cluster, or when something looks wrong.
Effect: the current release is compared with what was verified there, file by file in a listing; settings,
    data directories, database access and vhosts of every site are compared with what is desired; every site
    is asked for through every server. What differs is put right: a server without the release, with a changed
    one, or with another than most have (it was away when they were switched) gets it again, from one that has
    it unchanged; where none has, from the source, if that is still what was deployed. Nothing newer is.
    Where a listing differs, every file is read and named; with `every file`, on all servers, which finds
    what a listing cannot. What still differs at the end fails the run. All that differed is in the table
    `drift-verify-<platform>`.
    A pack's slave whose php-fpm was not told of the last switch is told.
Rollback: vhosts that do not hold go back by themselves; so does a release that a site does not run on.
Safe to re-run? Yes. A second run changes nothing and says so.
3 a.m.: a server that does not answer is named and the run fails; the others are verified all the same, and
    go on serving. Bring the server back, or take it out of the cluster, and run this again.
"""

from __future__ import annotations

from prefect.client.schemas.objects import State

from blocks import Platform
from flows.audit import find_intact, find_reachable, read_every_file
from flows.convergence import (
    Convergence,
    close_databases,
    make_data,
    open_databases,
    plan_convergence,
    serve_everywhere,
)
from flows.deployment import Deployment
from flows.drift import publish_drift
from flows.locks import hold
from flows.operation import operation
from flows.packs import Standing, follow_master, look_at_pack
from flows.publish import conclude, publish_plan
from flows.registry import list_sites_of
from flows.release import carry_out
from flows.repair import plan_repair
from flows.standby import copy_afterwards
from tasks.outcome import Outcomes
from tasks.packs import FollowPlan


@operation("verify-platform", runbook=__doc__, run_name="verify {platform.name}")
def verify_platform(platform: Platform, every_file: bool = False, dry_run: bool = False) -> State[Outcomes]:
    """Converge one platform and its sites to what is registered.

    Args:
        platform: The platform to verify.
        every_file: Read the content of every file of the release, too; takes a node seconds to minutes.
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
        plans = (*(repair.plans if repair else late), *(work.plans if work else ()))
        publish_plan(about, *plans)
        outcomes += work.unread if work else Outcomes()
        reached, intact = find_reachable(fleet, outcomes), find_intact(outcomes)
        suspects = set(reached.node_names) - (frozenset() if every_file else intact)
        audit = read_every_file(platform.name, reached, suspects)
        publish_drift(about, plans, audit.different, intact, audit.doubts)
        if not dry_run:
            outcomes += carry_out(repair) if repair else Outcomes()
            for plan in late:
                outcomes += follow_master(plan, alive, plan.release)
            outcomes += converge(work)
            audit = read_every_file(platform.name, reached, suspects) if audit.different else audit
            outcomes += audit.different
            outcomes += copy_afterwards(fleet, outcomes)
        outcomes += audit.doubts + audit.unread
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
