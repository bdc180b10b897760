"""Who is a member of which cluster or pack, as it is registered."""

from __future__ import annotations

from blocks import Cluster, Pack, Platform, Registered, Site
from flows.registry import list_sites
from tasks.outcome import Outcome


def members_of(target: Cluster | Pack) -> list[str]:
    """The members that come and go: a cluster's servers, a pack's slaves."""
    return target.servers if isinstance(target, Cluster) else target.slaves


def with_members(target: Cluster | Pack, names: list[str]) -> Cluster | Pack:
    """The same target with these members; nothing is registered."""
    return target.model_copy(update={"servers" if isinstance(target, Cluster) else "slaves": names})


def enlist(target: Cluster | Pack, server: str) -> Outcome:
    """The server is registered as a member, whoever else came or went in the meantime."""
    registered = type(target).get(target.name, "this run")
    names = members_of(registered)
    changed = server not in names and with_members(registered, [*names, server]).register()
    return Outcome(server, "list", changed, f"it is a member of {target.name}")


def strike(target: Cluster | Pack, server: str) -> Outcome:
    """The server is no registered member any more."""
    registered = type(target).get(target.name, "this run")
    names = [name for name in members_of(registered) if name != server]
    changed = names != members_of(registered) and with_members(registered, names).register()
    return Outcome(server, "take off the list", changed, f"it is no member of {target.name}")


def platforms_on(target: Cluster | Pack) -> tuple[tuple[Platform, tuple[Site, ...]], ...]:
    """Every registered platform of the target, by name, with its sites."""
    found = sorted(Platform.find_all().values(), key=lambda platform: platform.name)
    here = [p for p in found if type(p.target) is type(target) and p.target.name == target.name]
    sites = list_sites()
    return tuple((p, tuple(site for site in sites if site.platform.name == p.name)) for p in here)


def others_with(server: str, besides: Cluster | Pack) -> tuple[str, ...]:
    """Every other target that the server serves: clusters, packs, and platforms that are on it alone."""
    registered = Registered(Cluster, Pack, Platform)
    clusters = [c.name for c in registered.of(Cluster).values() if server in c.servers]
    packs = [p.name for p in registered.of(Pack).values() if server in {p.master.name, *p.slaves}]
    alone = [p.name for p in registered.of(Platform).values() if p.target.name == server]
    kind = "cluster" if isinstance(besides, Cluster) else "pack"
    named = [f"cluster {name}" for name in clusters] + [f"pack {name}" for name in packs]
    named += [f"platform {name}" for name in alone]
    return tuple(name for name in sorted(named) if name != f"{kind} {besides.name}")
