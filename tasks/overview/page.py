"""The overview as markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from tasks.overview.picture import draw_group, embed
from tasks.overview.values import Comparison, Group, PlatformView, is_old

_SITES_SHOWN = 12
_DIFFERENCES_SHOWN = 5
# Everything is compared each night: what is older than this was not, last night.
_NIGHT = timedelta(hours=36)


def render_page(
    groups: Sequence[Group],
    platforms: Sequence[PlatformView],
    made: datetime,
    compared: Sequence[Comparison] = (),
) -> str:
    """What needs a person first; then each group with its picture and the platforms on it."""
    trouble = [
        *_tell_machines(groups, made),
        *_tell_differences(compared, made),
        *_tell_platforms(platforms),
    ]
    lines = [
        "# Overview",
        "",
        f"As the runs last saw it; made {say_when(made)}.",
        "",
        *(["## Needs a look", "", *trouble] if trouble else ["Nothing needs a look."]),
        "",
        _tell_compared(compared),
    ]
    for group in groups:
        words = ", ".join(f"{m.name} {m.role} {m.verdict or m.kind}".strip() for m in group.machines)
        lines += ["", f"## {group.kind.capitalize()} {group.name}", "", embed(draw_group(group), words), ""]
        if group.share:
            lines += [_tell_share(group), ""]
        lines += _render_platforms([each for each in platforms if each.on == group.name])
    if not groups:
        lines += ["", "No cluster and no pack is registered: `packmaster inventory apply` does that."]
    return "\n".join(lines) + "\n"


def say_when(moment: datetime) -> str:
    """A time as a person reads it."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _tell_machines(groups: Iterable[Group], made: datetime) -> Iterator[str]:
    for group in groups:
        if group.share and is_old(group.watched, made):
            seen = f"last {say_when(group.watched)}" if group.watched else "never"
            said = f"was {seen} looked at, check-share does it each minute"
            yield f"* **share {group.share}** ({group.kind} {group.name}): {said}"
        for machine in group.troubled:
            table = f"{'standby' if machine.role == 'standby' else 'share'}-{group.share}"
            said = f"{machine.verdict}: {machine.detail}" if machine.detail else machine.verdict
            yield f"* **{machine.name}** ({group.kind} {group.name}): {said}, see `{table}`"


def _tell_differences(compared: Iterable[Comparison], made: datetime) -> Iterator[str]:
    for each in compared:
        when = f"as of {say_when(each.seen)}, see `{each.table}`"
        if each.unknown:
            yield f"* **Not known** of {', '.join(each.unknown)}, {when}"
        if each.left:
            yield f"* **{len(each.left)} difference(s)** from what is registered, {when}"
            yield from (f"    * {text}" for text in each.left[:_DIFFERENCES_SHOWN])
        if len(each.left) > _DIFFERENCES_SHOWN:
            yield f"    * and {len(each.left) - _DIFFERENCES_SHOWN} more"
        if made - each.seen > _NIGHT:
            yield f"* **Not compared** last night: `{each.table}` is of {say_when(each.seen)}"


def _tell_platforms(platforms: Iterable[PlatformView]) -> Iterator[str]:
    for platform in platforms:
        if platform.releases.failed:
            yield f"* **{platform.name}**: failed in its last run: {', '.join(platform.releases.failed[:5])}"
        if len(set(platform.releases.by_host.values())) > 1:
            yield f"* **{platform.name}**: not one release everywhere: {platform.releases}"


def _tell_compared(compared: Iterable[Comparison]) -> str:
    known = [f"`{each.table}` as of {say_when(each.seen)}" for each in compared]
    return f"Compared with what is registered: {', '.join(known) or 'nothing yet (resync-all does that)'}."


def _tell_share(group: Group) -> str:
    seen = f", as of {say_when(group.watched)}" if group.watched else ""
    copies = [m for m in group.machines if m.role == "standby" and m.verdict]
    told = [f" Standby {m.name} is {m.verdict}: {m.detail} (`standby-{group.share}`)." for m in copies]
    return f"Share `{group.share}`; its watch is the table `share-{group.share}`{seen}.{''.join(told)}"


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
