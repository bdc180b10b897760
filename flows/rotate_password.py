"""rotate-password: give a site another database password, without one failed request.

Trigger: by hand or on a schedule, and when a password may have become known.
Effect: a new password is generated and kept in the site's block; every account of the site takes both; every
    node logs in with the new one; every node's vhost is switched to it; after a pause for requests that began
    before, the accounts take the new one only, and every node finds that the old one is refused.
Rollback: when a vhost does not hold, all nodes get their last good configuration back, and the old password
    is still accepted. Run it again to go on.
Safe to re-run? Yes, also after a kill at any moment: what each account accepts is read from the server, and
    both passwords are in the block until one of them is dead. A run after one that was finished rotates anew.
3 a.m.: a node that does not answer keeps it from starting, or from taking the old password away: nothing is
    refused to anybody. Bring the node back and run it again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from prefect import get_run_logger, unmapped
from prefect.client.schemas.objects import State

from blocks import Site
from flows.access import plan_access
from flows.convergence import in_order, plan_vhosts, serve_everywhere
from flows.gather import gather
from flows.locks import hold
from flows.operation import operation
from flows.publish import announce, conclude, publish_plan
from tasks.errors import PlanRefused
from tasks.fleet import Database, Target
from tasks.grants import (
    Rotation,
    RotationPlan,
    SiteAccess,
    accept_new_password,
    check_login,
    check_refused,
    plan_password_rotation,
    read_grants,
    retire_old_password,
)
from tasks.outcome import Outcomes
from tasks.sites import new_password
from tasks.steps import join_outcomes
from tasks.web import WebPlan, read_web_config

# The longest that a request may take which was let in before the web server knew the new password.
DRAIN_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Change:
    """One site's password on its way: `site` is its block, which always has every password still in use."""

    site: Site
    fleet: Target
    database: Database
    rotation: Rotation
    plan: RotationPlan
    access: SiteAccess
    web: Mapping[str, WebPlan]


@operation("rotate-password", runbook=__doc__, run_name="rotate the password of {site.uri}")
def rotate_password(site: Site, drain_seconds: int = DRAIN_SECONDS, dry_run: bool = False) -> State[Outcomes]:
    """Give a site another database password, without one failed request.

    Args:
        site: The site.
        drain_seconds: How long a request may take; the old password works for so long after the switch.
        dry_run: Only show what would be done.
    """
    fleet, database, about = site.platform.resolve(), site.database.database(), f"rotate {site.uri}"
    with hold(fleet, database):
        # What another run did to it while this one waited for the locks.
        change = plan_change(Site.get(site.name, about), fleet, database)
        publish_plan(about, change.plan, *change.web.values())
        outcomes = Outcomes()
        if not dry_run:
            outcomes = in_order(
                lambda: accept_both(change),
                lambda: serve_new(change),
                lambda: accept_new_only(change, drain_seconds),
            )
            if not outcomes.failed:
                announce("site.password_rotated", site.uri)
    return conclude(about, outcomes)


def plan_change(site: Site, fleet: Target, database: Database) -> Change:
    """Plan a rotation, or the rest of one that was cut off; nothing has been changed or kept.

    Raises HostsFailed when a node or the database is silent, and PlanRefused where access is not as desired.
    """
    standing = site.model_copy(update={"database_password": site.retiring_password or site.database_password})
    grants = gather("read grants", [read_grants.submit(database)])
    configs = gather("read web configuration", read_web_config.map(fleet.nodes))
    access, unseen = plan_access(fleet.nodes, [site], complete=True)
    (grants.unread + configs.unread + unseen).raise_if_failed()
    if any(each.plan.additions for each in access):
        raise PlanRefused(f"the access of {site.uri} is not as desired", "Run reconcile-grants first")
    if not site.retiring_password:
        site.pending_password = site.pending_password or new_password()
    new = site.database_password if site.retiring_password else site.pending_password
    (desired,) = access[0].desired
    rotation = Rotation(desired.user, standing.database_password, new)
    served = site.model_copy(update={"database_password": new})
    web = {node.name: plan_vhosts(node, [served], configs.seen[node.name]) for node in fleet.nodes}
    plan = plan_password_rotation(rotation, grants.seen[database.name])
    return Change(site, fleet, database, rotation, plan, replace(desired, password=new), web)


def accept_both(change: Change) -> Outcomes:
    """The accounts take the new password too, as every node has found; from now on it is the site's."""
    site = change.site
    # Kept before it is given to the server: a password that nobody knows could never be served.
    site.register()
    outcomes = join_outcomes([accept_new_password.submit(change.database, change.rotation, change.plan)])
    if not outcomes.failed:
        outcomes += join_outcomes(
            check_login.map(change.fleet.nodes, unmapped(change.database), unmapped(change.access))
        )
    if not outcomes.failed and not site.retiring_password:
        site.retiring_password, site.database_password = site.database_password, site.pending_password
        site.pending_password = type(site.pending_password)("")
        site.register()
    return outcomes


def serve_new(change: Change) -> Outcomes:
    """Every node's vhost has the new password and the site answers, or all have the old one again."""
    return serve_everywhere(change.fleet.nodes, change.web, [change.site])


def accept_new_only(change: Change, drain_seconds: int) -> Outcomes:
    """The old password is refused, as every node has found, and forgotten."""
    get_run_logger().info("waiting %d s for requests that began with the old password", drain_seconds)
    time.sleep(drain_seconds)
    outcomes = join_outcomes([retire_old_password.submit(change.database, change.rotation, change.plan)])
    if not outcomes.failed:
        outcomes += join_outcomes(
            check_refused.map(change.fleet.nodes, unmapped(change.database), unmapped(change.rotation))
        )
    if not outcomes.failed:
        change.site.retiring_password = type(change.site.retiring_password)("")
        change.site.register()
    return outcomes
