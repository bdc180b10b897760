"""The overview as markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tasks.overview.picture import draw_group, embed
from tasks.overview.values import Group, PlatformView

_SITES_SHOWN = 12


def render_page(groups: Sequence[Group], platforms: Sequence[PlatformView], made: str) -> str:
    """What needs a person first; then each group with its picture and the platforms on it."""
    lines = [
        "# Overview",
        "",
        f"As the runs last saw it; made {made}.",
        "",
        *_render_trouble(groups, platforms),
    ]
    for group in groups:
        words = ", ".join(f"{m.name} {m.role} {m.verdict or m.kind}".strip() for m in group.machines)
        lines += ["", f"## {group.kind.capitalize()} {group.name}", "", embed(draw_group(group), words), ""]
        if group.share:
            lines += [f"Share `{group.share}`; its watch is the table `share-{group.share}`.", ""]
        lines += _render_platforms([each for each in platforms if each.on == group.name])
    if not groups:
        lines += ["", "No cluster and no pack is registered: `packmaster inventory apply` does that."]
    return "\n".join(lines) + "\n"


def _render_trouble(groups: Iterable[Group], platforms: Iterable[PlatformView]) -> list[str]:
    trouble = [
        f"* **{machine.name}** ({group.kind} {group.name}): {machine.verdict}, see `share-{group.share}`"
        for group in groups
        for machine in group.troubled
    ]
    trouble += [
        f"* **{platform.name}**: failed in its last run: {', '.join(platform.releases.failed[:5])}"
        for platform in platforms
        if platform.releases.failed
    ]
    trouble += [
        f"* **{platform.name}**: not one release everywhere: {platform.releases}"
        for platform in platforms
        if len(set(platform.releases.by_host.values())) > 1
    ]
    return ["## Needs a look", "", *trouble] if trouble else ["Nothing needs a look."]


def _render_platforms(platforms: Sequence[PlatformView]) -> list[str]:
    if not platforms:
        return ["No platform is on it."]
    head = ["| platform | profile | release | seen | sites |", "|---|---|---|---|---|"]
    return [*head, *(_render_platform(platform) for platform in platforms)]


def _render_platform(platform: PlatformView) -> str:
    names = [f"{uri} (disabled)" if uri in platform.disabled else uri for uri in platform.sites]
    shown = ", ".join(names[:_SITES_SHOWN])
    if len(names) > _SITES_SHOWN:
        shown += f" and {len(names) - _SITES_SHOWN} more"
    release = str(platform.releases) or "not seen yet"
    cells = (platform.name, platform.profile, release, platform.releases.seen or "-", shown or "none")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
