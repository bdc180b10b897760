"""create-platform: bring a codebase, or its next release, to every node of a cluster, or a pack's master.

Trigger: by hand or by another system, for a first deployment and for every later one.
Effect: the source is built once on the worker, staged on all servers in parallel as a release beside the
    current one, verified there against a manifest, and switched everywhere or nowhere; php-fpm is reloaded
    and every site that answered before is asked again. As many old releases are kept as was asked for; each
    server removes others by itself, some seconds after the run. Site data is never touched. When the content
    is already current everywhere, nothing is done. On a pack the master alone is staged, and switched once
    every slave sees the whole release through the share; then each slave is waited for until it sees the
    switch, and its php-fpm is reloaded. A share that is not mounted as it must be refuses.
Rollback: automatic when a switch, a reload or a site fails on any server. Later: run rollback-platform.
Safe to re-run? Yes, at any point and after a kill: what was staged is continued, what is current stays.
3 a.m.: if it failed, the fleet still serves what it served. Read the outcome table: it names the server and
    why. A server that is down keeps the others from switching: repair it, or run again with a smaller quorum.
"""

from __future__ import annotations

from typing import Annotated

from prefect.client.schemas.objects import State
from pydantic import Field

from blocks import Cluster, Pack, Platform, WebServer
from blocks.platform import ProfileName
from flows.operation import operation
from flows.registry import list_sites_of
from flows.release import deploy
from tasks.errors import PlanRefused
from tasks.names import SLUG_PATTERN, SOURCE_PATTERN, check_docroot, check_slug
from tasks.outcome import Outcomes

Name = Annotated[str, Field(json_schema_extra={"pattern": SLUG_PATTERN})]
Source = Annotated[str, Field(json_schema_extra={"pattern": SOURCE_PATTERN})]
Keep = Annotated[int, Field(ge=2, le=50)]
Quorum = Annotated[int, Field(ge=1)] | None


@operation("create-platform", runbook=__doc__, run_name="create {platform}")
def create_platform(
    platform: Name,
    target: Cluster | Pack | WebServer,
    source: Source,
    ref: str = "",
    checksum: str = "",
    docroot: str = "",
    profile: ProfileName = "php",
    keep_releases: Keep = 5,
    quorum: Quorum = None,
    composer: bool = True,
    dry_run: bool = False,
) -> State[Outcomes]:
    """Bring a codebase to every server of a cluster, or to a pack's master.

    Args:
        platform: Its name; lower-case letters, digits and hyphens.
        target: The cluster, pack or web server to deploy to.
        source: A directory on the worker, a git URL, or a tar or zip archive (path or URL). No password.
        ref: Branch, tag or commit of a git source.
        checksum: SHA-256 of an archive; needed when it is a URL.
        docroot: Directory inside the source that is served, such as web; empty for its top.
        profile: What kind of application it is.
        keep_releases: How many releases to keep for rollback.
        quorum: How many servers must have the release before it is switched; empty for all of them.
        composer: Run composer install where the source has a composer.json.
        dry_run: Only show what would be done.
    """
    registered = refuse_change(platform, target, profile, docroot)
    wanted = Platform(
        target=target,
        source=source,
        ref=ref,
        checksum=checksum,
        docroot=docroot,
        profile=profile,
        keep_releases=keep_releases,
        on_drift=registered.on_drift if registered else "report",
    )
    wanted.take_name(platform)
    return deploy(wanted, registered, quorum=quorum, composer=composer, dry_run=dry_run)


def refuse_change(
    name: str, target: Cluster | Pack | WebServer, profile: str, docroot: str
) -> Platform | None:
    """The platform as registered, if it is. Raises PlanRefused when it has sites that stand on another
    target, profile or document root: they would be left behind, or be served without their settings.
    """
    registered = Platform.find(check_slug(name, "platform name"))
    if registered is None:
        return None
    compared = {
        "target": (describe_target(registered.target), describe_target(target)),
        "profile": (registered.profile, profile),
        "document root": (check_docroot(registered.docroot), check_docroot(docroot)),
    }
    changed = {what: both for what, both in compared.items() if both[0] != both[1]}
    if not changed or not (sites := list_sites_of(name)):
        return registered
    what, (there, asked) = next(iter(changed.items()))
    raise PlanRefused(
        f"platform {name} has the {what} {there or '(the top)'}, on which {sites[0].uri} runs; asked "
        f"for is {asked or '(the top)'}",
        "Give what is registered, or run deploy-platform, which takes it from there; or deploy the source "
        "under another name",
    )


def describe_target(target: Cluster | Pack | WebServer) -> str:
    """Its kind and name: a cluster and a pack may have the same one."""
    return f"{target.get_block_type_slug().removeprefix('packmaster-')} {target.name}"
