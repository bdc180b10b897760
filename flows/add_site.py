"""add-site: a host name on a platform, with its own data, database and user, served by every node.

Trigger: by hand or by another system, for a new site; again to change its aliases, redirects or title.
Effect: data directories and settings on every node, a database and an account for each node's address as
    the database sees it, the application installed once, a vhost on every node, and a request through each of
    them. Passwords are generated and kept in the site's block. On a pack, data and settings are the master's
    to write, and all nodes share them.
Rollback: when a vhost does not hold on any node, all nodes get their last good configuration back and
    nothing serves the site. Data and database stay for the next run; remove-site takes them away.
Safe to re-run? Yes, also after a kill: what is there is kept, passwords and installed content included.
3 a.m.: other sites are not affected. Read the outcome table; when the database or a node is down, bring it
    back and run this again with the same parameters.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

from prefect import unmapped
from prefect.client.schemas.objects import State
from pydantic import Field, SecretStr

from blocks import DatabaseServer, Platform, Site, site_block_name
from flows.convergence import (
    Convergence,
    close_databases,
    in_order,
    make_data,
    open_databases,
    plan_convergence,
    refuse_unreleased,
    serve_everywhere,
)
from flows.gather import gather
from flows.locks import hold
from flows.operation import operation
from flows.packs import Standing, look_at_pack
from flows.publish import announce, conclude, publish_plan
from flows.registry import refuse_taken_names
from flows.standby import copy_afterwards
from tasks.code import read_code
from tasks.errors import PlanRefused
from tasks.names import HOST_NAME_PATTERN, check_host_name
from tasks.outcome import Outcomes
from tasks.sites import install_site, new_password
from tasks.steps import join_outcomes

Uri = Annotated[str, Field(json_schema_extra={"pattern": HOST_NAME_PATTERN})]


@operation("add-site", runbook=__doc__, run_name="add {uri}")
def add_site(
    uri: Uri,
    platform: Platform,
    database: DatabaseServer,
    aliases: list[str] | None = None,
    redirects: list[str] | None = None,
    title: str = "",
    admin_email: str = "",
    dry_run: bool = False,
) -> State[Outcomes]:
    """Serve a host name from every node of a platform.

    Args:
        uri: The site's main host name, in lower case.
        platform: The platform that it runs on.
        database: The server that gets its database.
        aliases: Other host names that serve the site, all of them; empty, or an empty list, keeps what is
            registered. To have none any more, empty the list in the site's block and run verify-platform.
        redirects: Other host names that redirect to the main one; kept and emptied like the aliases.
        title: The name that the application shows; empty keeps what is registered, at first the host name.
        admin_email: Given to the application's installer; webmaster at the host name when empty.
        dry_run: Only show what would be done.
    """
    describe = partial(describe_site, uri, platform, database, aliases, redirects, title, admin_email)
    fleet = platform.resolve()
    refuse_taken_names(describe())
    with hold(fleet, database.database()):
        # Whoever held the locks until now may have changed the site, its password above all.
        site = describe()
        standing = look_at_pack(fleet, f"add {uri}", platform.name)
        refuse_without_release(standing, platform.name)
        work = plan_convergence(fleet, [site], without=standing.unread.failed_hosts)
        publish_plan(f"add {uri}", *work.plans)
        outcomes = standing.unread + work.unread
        if not dry_run and not outcomes.failed:
            site.register()
            outcomes += in_order(
                lambda: make_data(work),
                lambda: open_databases(work),
                lambda: install_once(work),
                lambda: serve_everywhere(work.nodes, work.web, work.sites),
                lambda: close_databases(work),
            )
            if not outcomes.failed:
                announce("site.added", uri, {"platform": platform.name})
        outcomes += copy_afterwards(fleet, outcomes)
    return conclude(f"add {uri}", outcomes)


def describe_site(
    uri: str,
    platform: Platform,
    database: DatabaseServer,
    aliases: list[str] | None,
    redirects: list[str] | None,
    title: str,
    admin_email: str,
) -> Site:
    """The site as it is wanted: what was given, what is registered, generated passwords. Or PlanRefused."""
    check_host_name(uri)
    registered = Site.find(site_block_name(uri))
    if registered and registered.platform.name != platform.name:
        raise PlanRefused(f"{uri} runs on the platform {registered.platform.name}", "Remove it there first")
    if registered and registered.database.name != database.name:
        raise PlanRefused(f"the database of {uri} is on {registered.database.name}", "Choose that server")
    for name in [*(aliases or []), *(redirects or [])]:
        check_host_name(name, f"alias of {uri}")
    site = Site(
        uri=uri,
        platform=platform,
        database=database,
        aliases=aliases or (registered.aliases if registered else []),
        redirects=redirects or (registered.redirects if registered else []),
        title=title or (registered.title if registered else ""),
        admin_email=admin_email or (registered.admin_email if registered else ""),
        enabled=registered.enabled if registered else True,
        database_password=_kept(registered.database_password if registered else None),
        pending_password=registered.pending_password if registered else SecretStr(""),
        retiring_password=registered.retiring_password if registered else SecretStr(""),
        admin_password=_kept(registered.admin_password if registered else None),
    )
    site.take_name(site_block_name(uri))
    return site


def _kept(password: SecretStr | None) -> SecretStr:
    return password or new_password()  # an empty SecretStr is false


def refuse_without_release(standing: Standing, platform: str) -> None:
    """Raise PlanRefused when a node that answers has no release of the platform to serve a site from."""
    writers = standing.fleet.writers
    facts = gather("read releases", read_code.map(writers, unmapped(platform), unmapped("none")))
    current = {name: seen.current or "" for name, seen in facts.seen.items()}
    current |= {name: seen.current for name, seen in standing.followers.items()}
    reached = [node for node in standing.fleet.nodes if node.name in current]
    refuse_unreleased(reached, current, platform)


def install_once(work: Convergence) -> Outcomes:
    """The application is installed, from one node: its database is the same for all."""
    (site,) = work.sites
    done = install_site.submit(
        work.fleet.writers[0], site.value(), site.profile(), site.credentials(), site.admin_password
    )
    return join_outcomes([done])
