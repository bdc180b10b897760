"""The overview, kept current by every run that changed or failed something: no host is asked for it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.client.schemas.objects import ArtifactCollection

from blocks import Cluster, Pack, Platform, Site, WebServer
from flows.publish import artifact_key
from tasks.liveness import parse_rows
from tasks.outcome import Outcomes
from tasks.overview import Group, Machine, PlatformView, Releases, read_releases, render_page

KEY = "overview"
# What tells which release is current, in tables named after these.
SOURCES = ("deploy", "verify", "rollback")
PAGE = 200

log = logging.getLogger(__name__)


def keep_current(outcomes: object) -> None:
    """The overview is made anew when a run changed or failed something."""
    if isinstance(outcomes, Outcomes) and (outcomes.changed or outcomes.failed):
        refresh_quietly()


def refresh_quietly() -> None:
    """As refresh_overview; what goes wrong is logged and nothing else."""
    try:
        refresh_overview()
    except Exception as problem:  # the run's own end is what counts
        log.warning("the overview could not be made: %s", problem)


def refresh_overview() -> str:
    """The markdown artifact `overview` shows what is registered and what runs last published; returns it."""
    webs, platforms, packs = WebServer.find_all(), Platform.find_all(), Pack.find_all()
    keys = [artifact_key("share", pack.share.name) for pack in packs.values()]
    keys += [artifact_key("outcome", source, name) for source in SOURCES for name in platforms]
    tables = read_tables(keys)
    groups = [
        Group("cluster", name, tuple(Machine(n, "member", _kind(webs, n)) for n in cluster.servers))
        for name, cluster in sorted(Cluster.find_all().items())
    ]
    groups += [view_pack(name, pack, webs, tables) for name, pack in sorted(packs.items())]
    known = {group.name for group in groups}
    alone = {p.target.name: p.target for p in platforms.values() if p.target.name not in known}
    for name, server in sorted(alone.items()):
        kind = server.kind if isinstance(server, WebServer) else ""
        groups.append(Group("server", name, (Machine(name, "member", kind),)))
    sites = sorted(Site.find_all().values(), key=lambda site: site.uri)
    views = [view_platform(name, each, sites, tables) for name, each in sorted(platforms.items())]
    page = render_page(groups, views, f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    create_markdown_artifact(key=KEY, markdown=page, description="Clusters, packs, platforms and sites.")
    return page


def read_tables(keys: Sequence[str]) -> dict[str, ArtifactCollection]:
    """The latest artifact of each of the keys that has one."""
    found: dict[str, ArtifactCollection] = {}
    with get_client(sync_client=True) as client:
        for some in (keys[n : n + PAGE] for n in range(0, len(keys), PAGE)):
            named = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=list(some)))
            found |= {
                each.key: each for each in client.read_latest_artifacts(artifact_filter=named, limit=PAGE)
            }
    return found


def view_pack(
    name: str, pack: Pack, webs: Mapping[str, WebServer], tables: Mapping[str, ArtifactCollection]
) -> Group:
    """A pack with what check-share last said of each of its machines: the worst, where there are several."""
    share = pack.share.name
    table = tables.get(artifact_key("share", share))
    verdicts: dict[str, str] = {}
    for (machine, _), row in parse_rows(_rows(table)).rows.items() if table else ():
        if verdicts.get(machine, "OK") == "OK":
            verdicts[machine] = row.announced.value
    master = pack.master.name
    machines = [Machine(master, "master", _kind(webs, master), verdicts.get(master, ""))]
    machines += [Machine(n, "slave", _kind(webs, n), verdicts.get(n, "")) for n in pack.slaves]
    server = pack.share.server.name
    if server not in {machine.name for machine in machines}:
        machines.append(Machine(server, "nfs server", "", verdicts.get(server, "")))
    if pack.share.standby is not None:
        machines.append(Machine(pack.share.standby.name, "standby"))
    return Group("pack", name, tuple(machines), share)


def view_platform(
    name: str, platform: Platform, sites: list[Site], tables: Mapping[str, ArtifactCollection]
) -> PlatformView:
    """A platform with the release that a run last saw, and its sites."""
    here = [site for site in sites if site.platform.name == name]
    return PlatformView(
        name=name,
        on=platform.target.name,
        profile=platform.profile,
        releases=find_releases(name, tables),
        sites=tuple(site.uri for site in here),
        disabled=tuple(site.uri for site in here if not site.enabled),
    )


def find_releases(platform: str, tables: Mapping[str, ArtifactCollection]) -> Releases:
    """What the newest outcome table that knows says of the platform's releases."""
    found = [table for source in SOURCES if (table := tables.get(artifact_key("outcome", source, platform)))]
    for table in sorted(found, key=_made, reverse=True):
        releases = read_releases(_rows(table), f"{_made(table):%Y-%m-%d %H:%M} UTC")
        if releases.by_host or releases.failed:
            return releases
    return Releases()


def _made(table: ArtifactCollection) -> datetime:
    return table.updated or table.created or datetime.min.replace(tzinfo=UTC)


def _rows(table: ArtifactCollection) -> list[dict[str, Any]]:
    return list(json.loads(table.data)) if isinstance(table.data, str) else []


def _kind(webs: Mapping[str, WebServer], name: str) -> str:
    return webs[name].kind if name in webs else "NOT REGISTERED"
