"""remove-platform: take a codebase off every server, when no site uses it any more.

Trigger: by hand, after its sites were removed or moved.
Effect: all its releases are removed from every server, then its block. Refused while a site is registered
    on it or a server still has a vhost of it. Site data is never touched.
Rollback: create-platform brings it back from its source.
Safe to re-run? Yes, also after a kill: it goes on where it stopped.
3 a.m.: nothing is urgent about it; a server that does not answer keeps it from starting.
"""

from __future__ import annotations

from dataclasses import dataclass

from prefect import unmapped
from prefect.client.schemas.objects import State

from blocks import Platform
from flows.gather import gather
from flows.locks import hold
from flows.operation import operation
from flows.packs import look_at_pack
from flows.publish import announce, conclude, publish_plan
from flows.registry import list_sites_of
from flows.standby import copy_afterwards
from tasks.code import CodeFacts, read_code, remove_code
from tasks.errors import PlanRefused
from tasks.fleet import Target
from tasks.outcome import Outcomes
from tasks.packs import forget
from tasks.steps import join_outcomes
from tasks.web import read_web_config


@dataclass(frozen=True, slots=True)
class PlatformRemoval:
    """What goes: the releases of the platform on each host."""

    platform: str
    releases: tuple[tuple[str, tuple[str, ...]], ...]

    def __bool__(self) -> bool:
        return any(names for _, names in self.releases)

    def __str__(self) -> str:
        lines = [f"  {host}: remove {', '.join(names) or 'nothing'}" for host, names in self.releases]
        return "\n".join([f"platform {self.platform}", *lines])

    def as_rows(self) -> list[dict[str, str]]:
        """Rows for a table artifact, one a host."""
        return [{"host": host, "remove": ", ".join(names)} for host, names in self.releases]


@operation("remove-platform", runbook=__doc__, run_name="remove {platform.name}")
def remove_platform(platform: Platform, dry_run: bool = False) -> State[Outcomes]:
    """Take a codebase off every server, when no site uses it any more.

    Args:
        platform: The platform to remove.
        dry_run: Only show what would be done.
    """
    fleet, name = platform.resolve(), platform.name
    with hold(fleet):
        look_at_pack(fleet, f"remove {name}", quorum=None)
        refuse_used(name, fleet)
        facts = gather("read releases", read_code.map(fleet.writers, unmapped(name), unmapped("none")))
        publish_plan(f"remove {name}", plan_removal(name, facts.seen))
        outcomes = facts.unread
        if not dry_run and not outcomes.failed:
            outcomes += join_outcomes(remove_code.map(fleet.writers, unmapped(name)))
            outcomes += join_outcomes(forget.map(fleet.followers, unmapped(name)))
            if not outcomes.failed:
                Platform.unregister(name)
                announce("platform.removed", name)
        outcomes += copy_afterwards(fleet, outcomes)
    return conclude(f"remove {name}", outcomes)


def refuse_used(platform: str, fleet: Target) -> None:
    """Raise PlanRefused while a registered site, or a vhost on a server, needs the platform."""
    registered = {site.uri for site in list_sites_of(platform)}
    configs = gather("read web configuration", read_web_config.map(fleet.nodes))
    configs.unread.raise_if_failed()
    served = {uri for config in configs.seen.values() for uri in config.sites_of(platform)}
    if registered | served:
        raise PlanRefused(
            f"the platform {platform} is used by {', '.join(sorted(registered | served))}",
            "Remove these sites first, with remove-site",
        )


def plan_removal(platform: str, facts: dict[str, CodeFacts]) -> PlatformRemoval:
    """What the hosts have of the platform."""
    found = [(host, tuple(r.name for r in seen.releases)) for host, seen in sorted(facts.items())]
    return PlatformRemoval(platform, tuple(found))
