"""What is registered: every site, those of one platform, and who has which host name."""

from __future__ import annotations

from blocks import Site
from tasks.errors import PlanRefused


def list_sites() -> tuple[Site, ...]:
    """Every registered site, by host name."""
    return tuple(sorted(Site.find_all().values(), key=lambda site: site.uri))


def list_sites_of(platform: str) -> tuple[Site, ...]:
    """Every registered site that runs on the platform."""
    return tuple(site for site in list_sites() if site.platform.name == platform)


def refuse_taken_names(site: Site) -> None:
    """Raise PlanRefused when a name of `site` is a name, alias or redirect of another registered site."""
    wanted = {site.uri, *site.aliases, *site.redirects}
    for other in list_sites():
        taken = wanted & {other.uri, *other.aliases, *other.redirects}
        if other.uri != site.uri and taken:
            raise PlanRefused(
                f"{site.uri}: the name {min(taken)} already belongs to the site {other.uri}",
                "Choose another name, or take it away from that site first",
            )
