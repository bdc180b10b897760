"""What is wrong with a pack's mounts, and which slaves have to follow a switch. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tasks.errors import PlanRefused
from tasks.fleet import PLATFORMS, SITES, Node, Share, Target
from tasks.packs.facts import MemberFacts

NFS = frozenset({"nfs", "nfs4"})


@dataclass(frozen=True, slots=True, order=True)
class FollowStep:
    """One slave: it sees `sees` (empty: no release) now, and its php-fpm has to be told of another one."""

    host: str
    sees: str

    def __str__(self) -> str:
        return f"{self.host}: wait until it sees the release through the share, tell its php-fpm"


@dataclass(frozen=True, slots=True)
class FollowPlan:
    """The slaves that have to follow, now or after the master's switch to `release`."""

    platform: str
    release: str
    steps: tuple[FollowStep, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __str__(self) -> str:
        lines = [f"  {step}" for step in self.steps] or ["  they know of it, nothing to do"]
        return "\n".join([f"slaves of platform {self.platform}: release {self.release}", *lines])

    def as_rows(self) -> list[dict[str, str]]:
        """Rows for a table artifact, one a slave."""
        return [
            {
                "host": step.host,
                "release": self.release,
                "step": f"follow the master; sees {step.sees or 'nothing'} now",
            }
            for step in self.steps
        ]

    @property
    def hosts(self) -> frozenset[str]:
        return frozenset(step.host for step in self.steps)


def plan_following(
    platform: str, release: str, facts: Mapping[str, MemberFacts], *, switching: bool
) -> FollowPlan:
    """Plan which of the slaves in `facts` have to follow: all of them when the master is to be switched.

    Otherwise those whose php-fpm was never told of the link that they see: a run was killed before it came
    to that, or the slave was away.
    """
    steps = [
        FollowStep(host, seen.current)
        for host, seen in sorted(facts.items())
        if switching or seen.link != seen.told
    ]
    return FollowPlan(platform, release, tuple(steps))


def refuse_unmounted(target: Target, facts: Mapping[str, MemberFacts]) -> None:
    """Raise PlanRefused when code or data of a node in `facts` is not the pack's share, naming each node.

    What would be written to such a node would land beneath its mount point and be seen by nobody.
    """
    share = target.share
    if share is None:
        return
    faults = [
        f"{node.name}: {fault}"
        for node in target.nodes
        if node.name in facts
        for fault in _find_faults(node, share, facts[node.name], follows=node.name != target.master)
    ]
    if faults:
        raise PlanRefused(
            f"pack {target.name} is not mounted as it must be:\n  " + "\n  ".join(faults) + "\n",
            "Nothing was touched. Run provision-pack, which mends it, and then this again",
        )


def _find_faults(node: Node, share: Share, seen: MemberFacts, *, follows: bool) -> Iterator[str]:
    for path, directory in ((PLATFORMS, share.code_path), (SITES, share.data_path)):
        if path in seen.own:
            continue
        if node.endpoint == share.server.endpoint:
            yield f"{path} is not {directory}, although it is the share's own server"
            continue
        mount, wanted = seen.mounts.get(path), mount_source(share, directory)
        writes = path == SITES or not follows
        if mount is None or mount.kind not in NFS:
            yield f"nothing is mounted at {path}; it must be {wanted}"
        elif mount.source != wanted:
            yield f"{path} is {mount.source}, not {wanted}"
        elif mount.writable != writes:
            yield f"{path} is mounted {'read-write' if mount.writable else 'read-only'}"


def mount_source(share: Share, directory: str) -> str:
    """What a node mounts to have `directory` of the share, as mount(8) and the mount table write it."""
    address = f"[{share.address}]" if ":" in share.address else share.address
    return f"{address}:{directory}"


def refuse_few(target: Target, missing: Sequence[str], quorum: int | None) -> None:
    """Raise PlanRefused when a pack's master cannot be read, or fewer nodes than `quorum` (None: all)."""
    if target.share is None:
        return
    needed = len(target.nodes) if quorum is None else quorum
    there = len(target.nodes) - len(missing)
    if target.master in missing:
        raise PlanRefused(
            f"{target.master}, the master of pack {target.name}, cannot be read, and it alone writes code "
            f"and data (not read: {', '.join(missing)})",
            "Bring it back, or make another node the master",
        )
    if there < needed:
        raise PlanRefused(
            f"{there} node(s) of pack {target.name} can be read and {needed} are needed "
            f"(not read: {', '.join(missing)})",
            "Repair or take out the nodes that do not answer, or ask for a smaller quorum",
        )
