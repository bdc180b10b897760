"""create-platform: bring a codebase, or its next release, to every server of a cluster.

Trigger: by hand or by another system, for a first deployment and for every later one.
Effect: the source is built once on the worker, staged on all servers in parallel as a release beside the
    current one, verified there against a manifest, and switched everywhere or nowhere; php-fpm is reloaded
    and every site that answered before is asked again. Old releases are kept. Site data is never touched.
    When the content is already current everywhere, nothing is done.
Rollback: automatic when a switch, a reload or a site fails on any server. Later: run rollback-platform.
Safe to re-run? Yes, at any point and after a kill: what was staged is continued, what is current stays.
3 a.m.: if it failed, the fleet still serves what it served. Read the outcome table: it names the server and
    why. A server that is down keeps the others from switching: repair it, or run again with a smaller quorum.
"""

from __future__ import annotations

from typing import Annotated

from prefect.client.schemas.objects import State
from pydantic import Field

from blocks import Cluster, Platform, WebServer
from blocks.platform import ProfileName
from flows.locks import hold
from flows.operation import operation
from flows.publish import conclude, publish_plan
from flows.registry import list_sites_of
from flows.release import carry_out, plan_deployment
from tasks.errors import PlanRefused
from tasks.names import check_slug
from tasks.outcome import Outcomes

Keep = Annotated[int, Field(ge=2, le=50)]
Quorum = Annotated[int, Field(ge=1)] | None


@operation("create-platform", runbook=__doc__, run_name="create {platform}")
def create_platform(
    platform: str,
    target: Cluster | WebServer | None = None,
    source: str = "",
    ref: str = "",
    checksum: str = "",
    docroot: str = "",
    profile: ProfileName | None = None,
    keep_releases: Keep = 5,
    quorum: Quorum = None,
    composer: bool = True,
    dry_run: bool = False,
) -> State[Outcomes]:
    """Bring a codebase to every server of a cluster.

    Args:
        platform: Its name; lower-case letters, digits and hyphens. What is left empty below is taken from
            the registered platform of this name.
        target: The cluster or web server to deploy to.
        source: A directory on the worker, a git URL, or a tar or zip archive (path or URL).
        ref: Branch, tag or commit of a git source.
        checksum: SHA-256 of an archive; needed when it is a URL.
        docroot: Directory inside the source that is served, such as web; empty for its top.
        profile: What kind of application it is; plain PHP when nothing is registered.
        keep_releases: How many releases to keep for rollback.
        quorum: How many servers must have the release before it is switched; empty for all of them.
        composer: Run composer install where the source has a composer.json.
        dry_run: Only show what would be done.
    """
    wanted = describe_platform(platform, target, source, ref, checksum, docroot, profile, keep_releases)
    fleet = wanted.resolve()
    with hold(fleet):
        deployment = plan_deployment(wanted, fleet, quorum=quorum, composer=composer)
        publish_plan(f"create {platform}", deployment.plan)
        outcomes = deployment.unread
        if not dry_run:
            wanted.save(platform, overwrite=True)
            outcomes += carry_out(deployment, fleet, list_sites_of(platform))
    return conclude(f"create {platform}", outcomes)


def describe_platform(
    name: str,
    target: Cluster | WebServer | None,
    source: str,
    ref: str,
    checksum: str,
    docroot: str,
    profile: ProfileName | None,
    keep_releases: int,
) -> Platform:
    """The platform as it is wanted: what was given, and else what is registered. Raises PlanRefused."""
    check_slug(name, "platform name")
    registered = Platform.find(name)
    target = target or (registered.target if registered else None)
    source = source or (registered.source if registered else "")
    if target is None or not source:
        what = "target" if target is None else "source"
        raise PlanRefused(f"platform {name} is not registered and no {what} was given", f"Give its {what}")
    if registered and registered.target.name != target.name and list_sites_of(name):
        raise PlanRefused(
            f"platform {name} with its sites is on {registered.target.name}, not on {target.name}",
            "Deploy the source under another name there",
        )
    given = {"ref": ref, "checksum": checksum, "docroot": docroot, "profile": profile}
    kept = {field: getattr(registered, field) for field in given} if registered else {}
    fields = kept | {field: value for field, value in given.items() if value}
    wanted = Platform(target=target, source=source, keep_releases=keep_releases, **fields)
    wanted._block_document_name = name
    return wanted
