"""remove-site: back a site up, verify the backup, then take the site away everywhere.

Trigger: by hand or by another system, when a site is no longer wanted.
Effect: the site is taken off the web (503), so that nothing changes any more; its database and the data of
    every node are written to the worker's backup directory and read back whole; then its vhost goes from
    every node, its data, its database, its accounts, and last its block. Without a verified backup nothing
    goes.
Rollback: when the backup fails or the run is cancelled meanwhile, the site is on the web again. After the
    backup there is none; the outcome names the backup's directory (database.sql.gz and one archive of data a
    node), from which the site can be restored with add-site and the database's client.
Safe to re-run? Yes, also after a kill: what is gone already is skipped, what is left is backed up first.
3 a.m.: a node or database that does not answer keeps it from starting, and so does a backup directory that
    cannot be written. A run whose process was killed may leave the site at 503: run it again, or
    verify-platform, which serves the site again. Other sites are not affected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from prefect import get_run_logger, unmapped
from prefect.client.schemas.objects import State

from blocks import Site
from flows.controller import backup_directory
from flows.convergence import in_order, serve_everywhere
from flows.gather import gather
from flows.locks import hold
from flows.operation import operation
from flows.packs import look_at_pack
from flows.publish import announce, conclude, publish_plan
from flows.standby import copy_afterwards
from tasks.errors import HostsFailed
from tasks.fleet import Database, Node, Target
from tasks.grants import GrantPlan, RemovedAccess, plan_grants, read_grants, take_access_back
from tasks.outcome import Outcome, Outcomes
from tasks.sites import (
    VerifiedBackup,
    back_up_data,
    back_up_database,
    remove_data,
    seal_and_verify_backup,
    start_backup,
    unlink_site,
    vhost_for,
)
from tasks.steps import join_outcomes
from tasks.web import Vhost, WebPlan, plan_web, read_web_config, restore_config


@dataclass(frozen=True, slots=True)
class Removal:
    """What has to go for one site, once its backup is verified."""

    site: Site
    fleet: Target
    database: Database
    access: RemovedAccess
    grants: GrantPlan
    has_database: bool
    web: Mapping[str, WebPlan]


@operation("remove-site", runbook=__doc__, run_name="remove {site.uri}")
def remove_site(site: Site, dry_run: bool = False) -> State[Outcomes]:
    """Back a site up, verify the backup, then take the site away everywhere.

    Args:
        site: The site to remove.
        dry_run: Only show what would be done.
    """
    fleet, database, about = site.platform.resolve(), site.database.database(), f"remove {site.uri}"
    with hold(fleet, database):
        look_at_pack(fleet, about, quorum=None)
        removal = plan_removal(site, fleet, database)
        publish_plan(about, *removal.web.values(), removal.grants)
        outcomes = Outcomes()
        if not dry_run:
            backup = back_up_offline(removal)
            outcomes += [Outcome("controller", "back up", changed=True, detail=str(backup))]
            outcomes += in_order(
                lambda: serve_everywhere(fleet.nodes, plan_vhosts(fleet.nodes, site.uri, None), ()),
                lambda: remove_traces(removal, backup),
                lambda: drop_database(removal),
            )
            if not outcomes.failed:
                Site.unregister(site.name)
                announce("site.removed", site.uri, {"backup": backup.directory})
        outcomes += copy_afterwards(fleet, outcomes)
    return conclude(about, outcomes)


def plan_removal(site: Site, fleet: Target, database: Database) -> Removal:
    """Plan what goes; raises HostsFailed, before anything is touched, when a node or database is silent."""
    grants = gather("read grants", [read_grants.submit(database)])
    grants.unread.raise_if_failed()
    credentials = site.credentials()
    access = RemovedAccess(site.uri, credentials.database, credentials.user)
    there = grants.seen[database.name]
    web = plan_vhosts(fleet.nodes, site.uri, None)
    has_database = credentials.database in there.databases
    return Removal(site, fleet, database, access, plan_grants([access], there), has_database, web)


def plan_vhosts(nodes: Sequence[Node], uri: str, vhost: Vhost | None) -> dict[str, WebPlan]:
    """Plan that every node has this vhost of the site, or none; raises HostsFailed when a node is silent."""
    configs = gather("read web configuration", read_web_config.map(nodes))
    configs.unread.raise_if_failed()
    return {node.name: plan_web({uri: vhost}, configs.seen[node.name], node.kind) for node in nodes}


def back_up_offline(removal: Removal) -> VerifiedBackup:
    """The site is off the web and in a verified backup; or it is on the web again and the error is raised."""
    site, nodes = removal.site, removal.fleet.nodes
    directory = start_backup(site.uri, datetime.now(UTC), str(backup_directory()))
    vhost = replace(vhost_for(site.value(), site.profile(), site.credentials()), enabled=False)
    offline = plan_vhosts(nodes, site.uri, vhost)
    try:
        served = serve_everywhere(nodes, offline, ())
        if not served.failed:
            return back_up(removal, directory)
    except BaseException as failure:  # a cancelled run, too, owes the site to its visitors
        reason = str(failure) or type(failure).__name__
        get_run_logger().error("no backup, so the site goes back on the web: %s", reason)
        return_to_web(removal, offline).raise_if_failed()
        raise
    raise HostsFailed(served)


def return_to_web(removal: Removal, offline: Mapping[str, WebPlan]) -> Outcomes:
    """Every node serves of the site what it did before `offline`; what a killed run left off is on again."""
    site, nodes = removal.site, removal.fleet.nodes
    changed = [node for node in nodes if offline[node.name]]
    outcomes = join_outcomes(restore_config.map(changed, [offline[node.name] for node in changed]))
    left_off = [node for node in nodes if not offline[node.name]]
    if left_off:
        vhost = vhost_for(site.value(), site.profile(), site.credentials())
        outcomes += serve_everywhere(left_off, plan_vhosts(left_off, site.uri, vhost), ())
    return outcomes


def back_up(removal: Removal, directory: str) -> VerifiedBackup:
    """The database and all data are in a backup that was read back; raises HostsFailed, PlanRefused."""
    site, nodes = removal.site, removal.fleet.writers
    data = gather("back up data", back_up_data.map(nodes, unmapped(site.value()), unmapped(directory)))
    names = [removal.access.database] if removal.has_database else []
    dumping = back_up_database.map(unmapped(removal.database), names, unmapped(directory))
    dump = gather("back up database", dumping)
    (data.unread + dump.unread).raise_if_failed()
    parts = tuple(data.seen[node.name] for node in nodes)
    return seal_and_verify_backup(directory, site.uri, dump.seen.get(removal.database.name), parts)


def remove_traces(removal: Removal, backup: VerifiedBackup) -> Outcomes:
    """No node has the site's data any more, nor a link to it in the code."""
    value, profile, nodes = removal.site.value(), removal.site.profile(), removal.fleet.writers
    outcomes = Outcomes()
    if profile.link:
        outcomes += join_outcomes(unlink_site.map(nodes, unmapped(value), unmapped(profile)))
    return outcomes + join_outcomes(remove_data.map(nodes, unmapped(value.uri), unmapped(backup)))


def drop_database(removal: Removal) -> Outcomes:
    """The site's database and accounts are gone."""
    return join_outcomes([take_access_back.submit(removal.database, [removal.access], removal.grants)])
