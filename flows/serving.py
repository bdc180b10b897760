"""Which nodes serve which sites, and where these have their databases, as it is registered now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from blocks import DatabaseServer, Platform, Site
from tasks.errors import PackmasterError
from tasks.fleet import Database, Node
from tasks.outcome import Outcome, Outcomes

B = TypeVar("B")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Serving:
    """A site and the nodes that serve it; `complete` when these are all of them."""

    site: Site
    nodes: tuple[Node, ...]
    complete: bool = True


def serve(sites: Iterable[Site]) -> tuple[tuple[Serving, ...], Outcomes]:
    """Each site with the nodes that serve it, without those of which something is not registered.

    Every platform or database server of which that is so is a failed Outcome: the others' sites go on.
    """
    found = tuple(sites)
    databases, unknown = find_databases(found)
    targets, dangling = _look_up({site.platform.name: site.platform for site in found}, Platform.resolve)
    serving = tuple(
        Serving(site, targets[site.platform.name].nodes)
        for site in found
        if site.platform.name in targets and site.database.name in databases
    )
    return serving, unknown + dangling


def find_databases(sites: Iterable[Site]) -> tuple[dict[str, Database], Outcomes]:
    """The database servers of the sites by name; one that names an unknown replica is a failed Outcome."""
    servers = {site.database.name: site.database for site in sites}
    return _look_up(servers, DatabaseServer.database)


def by_database(serving: Sequence[Serving]) -> list[tuple[Database, list[Serving]]]:
    """The sites of each database server, by name; PlanRefused for one that names an unknown replica."""
    servers: dict[str, DatabaseServer] = {each.site.database.name: each.site.database for each in serving}
    return [
        (server.database(), [each for each in serving if each.site.database.name == name])
        for name, server in sorted(servers.items())
    ]


def _look_up(blocks: Mapping[str, B], resolve: Callable[[B], T]) -> tuple[dict[str, T], Outcomes]:
    found: dict[str, T] = {}
    failed: list[Outcome] = []
    for name, block in sorted(blocks.items()):
        try:
            found[name] = resolve(block)
        except PackmasterError as why:
            failed.append(Outcome(name, "look up what is registered", error=str(why)))
    return found, Outcomes(tuple(failed))
