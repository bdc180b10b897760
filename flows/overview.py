"""The overview, kept current by every run that changed or failed something: no host is asked for it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.client.schemas.objects import ArtifactCollection
from prefect.client.schemas.sorting import ArtifactCollectionSort

from blocks import Cluster, Pack, Platform, Registered, Share, Site, WebServer
from flows.publish import artifact_key
from tasks.liveness import parse_rows
from tasks.overview import (
    OLD,
    Comparison,
    Group,
    Machine,
    PlatformView,
    Releases,
    is_old,
    read_differences,
    read_releases,
    render_page,
    say_when,
)
from tasks.replication import State, parse_standing

KEY = "overview"
# What tells which release is current: what runs about a platform call themselves in their tables.
SOURCES = ("deploy {}", "verify {}", "roll {} back")
# What the nightly runs compare, as they call it in their tables; other runs compare a part of the grants.
EVERYTHING, ALL_GRANTS, SOME_GRANTS = "everything", "grants of all sites", "drift-grants-of-%"
NIGHTLY = tuple(
    artifact_key(kind, name) for kind in ("drift", "outcome") for name in (EVERYTHING, ALL_GRANTS)
)
PAGE = 200

log = logging.getLogger(__name__)


def refresh_quietly() -> None:
    """As refresh_overview; what goes wrong is logged and nothing else."""
    try:
        refresh_overview()
    except Exception as problem:  # the run's own end is what counts
        log.warning("the overview could not be made: %s", problem)


def refresh_overview() -> str:
    """The markdown artifact `overview` shows what is registered and what runs last published; returns it."""
    now = datetime.now(UTC)
    registered = Registered(WebServer, Cluster, Pack, Platform, Site)
    webs, platforms, packs = registered.of(WebServer), registered.of(Platform), registered.of(Pack)
    shares = {pack.share.name for pack in packs.values()}
    keys = [artifact_key(kind, name) for kind in ("share", "standby") for name in shares]
    keys += [artifact_key("outcome", source.format(name)) for source in SOURCES for name in platforms]
    tables = read_tables([*keys, *NIGHTLY])
    groups = [
        Group("cluster", name, tuple(Machine(n, "member", _kind(webs, n)) for n in cluster.servers))
        for name, cluster in sorted(registered.of(Cluster).items())
    ]
    groups += [view_pack(name, pack, webs, tables, now) for name, pack in sorted(packs.items())]
    alone = {p.target.name: p.target for p in platforms.values() if isinstance(p.target, WebServer)}
    for name, server in sorted(alone.items()):
        groups.append(Group("server", name, (Machine(name, "member", server.kind),)))
    sites = sorted(registered.of(Site).values(), key=lambda site: site.uri)
    views = [view_platform(name, each, sites, tables) for name, each in sorted(platforms.items())]
    page = render_page(groups, views, now, find_comparisons(tables))
    create_markdown_artifact(key=KEY, markdown=page, description="Clusters, packs, platforms and sites.")
    return page


def find_comparisons(tables: Mapping[str, ArtifactCollection]) -> tuple[Comparison, ...]:
    """What the last nightly runs found to differ, and later runs about a part of the grants."""
    night, whole = (tables.get(artifact_key("drift", name)) for name in (EVERYTHING, ALL_GRANTS))
    since = _made(whole) if whole is not None else datetime.min.replace(tzinfo=UTC)
    parts = [each for each in read_like(SOME_GRANTS) if _made(each) > since]
    tables = {**tables, **read_tables([_outcome_of(each) for each in parts])}
    grants = [*([whole] if whole is not None else []), *parts]
    found = [compare(night, tables.get(_outcome_of(night)), by_row=True)] if night is not None else []
    return (*found, *(compare(each, tables.get(_outcome_of(each))) for each in grants))


def compare(
    drift: ArtifactCollection, outcome: ArtifactCollection | None, *, by_row: bool = False
) -> Comparison:
    """A drift table with what its own run did about it; where its rows say that, `by_row`."""
    own = _rows(outcome) if outcome is not None and outcome.flow_run_id == drift.flow_run_id else []
    failed = tuple(row["host"] for row in own if row.get("result") == "failed")
    repaired = not by_row and not failed and any(row.get("result") == "changed" for row in own)
    return Comparison(drift.key, _made(drift), read_differences(_rows(drift), repaired=repaired), failed)


def _outcome_of(drift: ArtifactCollection) -> str:
    return drift.key.replace("drift", "outcome", 1)


def read_like(pattern: str) -> list[ArtifactCollection]:
    """The latest artifact of each key of a pattern, the newest of them first, and no more than a page."""
    like = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(like_=pattern))
    newest = ArtifactCollectionSort.UPDATED_DESC
    with get_client(sync_client=True) as client:
        return client.read_latest_artifacts(artifact_filter=like, sort=newest, limit=PAGE)


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
    name: str,
    pack: Pack,
    webs: Mapping[str, WebServer],
    tables: Mapping[str, ArtifactCollection],
    now: datetime,
) -> Group:
    """A pack with what check-share last said of each of its machines: the worst, where there are several."""
    share = pack.share.name
    table = tables.get(artifact_key("share", share))
    watched = _made(table) if table else None
    verdicts: dict[str, str] = {}
    for (machine, _), row in parse_rows(_rows(table)).rows.items() if table else ():
        if verdicts.get(machine, "OK") == "OK":
            verdicts[machine] = row.announced.value
    if is_old(watched, now):
        verdicts = dict.fromkeys((*verdicts, pack.master.name, *pack.slaves, pack.share.server.name), OLD)
    master = pack.master.name
    machines = [Machine(master, "master", _kind(webs, master), verdicts.get(master, ""))]
    machines += [Machine(n, "slave", _kind(webs, n), verdicts.get(n, "")) for n in pack.slaves]
    server = pack.share.server.name
    if server not in {machine.name for machine in machines}:
        machines.append(Machine(server, "nfs server", "", verdicts.get(server, "")))
    machines += view_standby(pack.share, tables, now)
    return Group("pack", name, tuple(machines), share, watched)


def view_standby(share: Share, tables: Mapping[str, ArtifactCollection], now: datetime) -> Iterator[Machine]:
    """The share's standby with how old its copy is by now, whether or not copies are made any more."""
    if share.standby is None:
        return
    name, table = share.standby.name, tables.get(artifact_key("standby", share.name))
    standing = parse_standing(_rows(table)) if table else None
    if share.mode == "external":
        yield Machine(name, "standby")
    elif table is None or standing is None or standing.standby != name:
        yield Machine(name, "standby", "", State.BEHIND, "nothing was copied to it yet")
    else:
        today = replace(standing, now=now)
        late = today.lag is None or today.lag > share.recovery_point_seconds
        state = State.BEHIND if late and today.state is State.OK else today.state
        lag = "it never got a whole copy" if today.lag is None else f"its copy is {today.lag:.0f} s old"
        detail = f"{lag}; last tried {say_when(_made(table))}"
        yield Machine(name, "standby", "", state, detail)


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
    found = [
        table for source in SOURCES if (table := tables.get(artifact_key("outcome", source.format(platform))))
    ]
    for table in sorted(found, key=_made, reverse=True):
        releases = read_releases(_rows(table), say_when(_made(table)))
        if releases.by_host or releases.failed:
            return releases
    return Releases()


def _made(table: ArtifactCollection) -> datetime:
    return table.updated or table.created or datetime.min.replace(tzinfo=UTC)


def _rows(table: ArtifactCollection) -> list[dict[str, Any]]:
    return list(json.loads(table.data)) if isinstance(table.data, str) else []


def _kind(webs: Mapping[str, WebServer], name: str) -> str:
    return webs[name].kind if name in webs else "NOT REGISTERED"
