"""What each node uses instead of the server that it should, from what was seen of its mounts. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.liveness.values import Member, Sample, Sight, Watched
from tasks.nfs.mounted import mount_at


def find_misplaced(watched: Watched, sample: Sample) -> Mapping[str, str]:
    """By node, in the order of members, why it does not work from `watched`'s server; others are left out."""
    found: dict[str, str] = {}
    for member in watched.members:
        sight = sample.nodes.get(member.name)
        if sight is None:
            found[member.name] = f"it cannot be asked: {sample.unseen.get(member.name, '?')}"
        elif said := _find_wrong(member, sight):
            found[member.name] = said
    return found


def find_detached(watched: Watched, sample: Sample) -> tuple[str, ...]:
    """Nodes that hold nothing back: their php-fpm is stopped, and what they still mount of the share comes
    from `watched`'s server. So a switch leaves them that was killed while they paused.
    """
    return tuple(
        member.name
        for member in watched.members
        if (sight := sample.nodes.get(member.name)) is not None
        and sight.drained
        and not _strays(member, sight)
    )


def _strays(member: Member, sight: Sight) -> bool:
    found = ((mount, mount_at(sight.mounts, mount.point)) for mount in member.mounts if mount.kind == "nfs")
    return any(entry is not None and entry.source != mount.source for mount, entry in found)


def _find_wrong(member: Member, sight: Sight) -> str:
    wrong = []
    for mount in member.mounts:
        entry = mount_at(sight.mounts, mount.point)
        if entry is None:
            wrong.append(f"nothing is mounted at {mount.point}")
        elif mount.kind == "nfs" and entry.source != mount.source:
            wrong.append(f"{mount.point} is mounted from {entry.source}")
    if sight.drained:
        wrong.append(f"{' '.join(sight.drained)} was left stopped")
    return "; ".join(wrong)
