"""Whether a share may be copied from one server to the other, and how: two sides seen -> SyncPlan. Pure.

A copy takes away what its source has not, so the wrong way round it destroys what it is to save. What is so
is read from the servers: their records (who serves, under which epoch), their disks, and the tokens in the
trees, of which the source's is never older than the destination's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tasks.fleet import Machine, Share
from tasks.replication.doors import MODULES, digest_of, door_line, known_hosts_file, receiver_files
from tasks.replication.safety import (
    Purpose,
    last_token,
    paths_of,
    refuse_full,
    refuse_no_destination,
    refuse_no_source,
    refuse_wrong_way,
)
from tasks.replication.values import Side, SyncProof

PACKAGES = ("rsync",)
# A copy may take away half of what the destination has, or this many files: old releases have thousands.
FEWEST_DELETIONS = 10_000


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """A copy of both trees from `source` to `destination`, which will be number `sequence` of `epoch`.

    `prepares` is what is still missing for the one to reach the other; `adopts` are trees of the destination
    that are empty and become the share's; `deletions` is how many files may be taken away in each tree.
    """

    share: str
    source: str
    destination: str
    sequence: int
    epoch: int
    deletions: int = FEWEST_DELETIONS
    prepares: tuple[tuple[str, str], ...] = ()
    adopts: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """There always is work: the proof of a copy grows old."""
        return True

    @property
    def steps(self) -> tuple[tuple[str, str], ...]:
        """(host, what), in order."""
        copying = [
            (self.source, f"copy {module} to {self.destination}, taking away {self.deletions} files at most")
            for module in MODULES
        ]
        adopting = [(self.destination, f"{path} is empty, and becomes the share's") for path in self.adopts]
        proof = (self.destination, f"has on its disk what was written before copy {self.sequence} began")
        return (*self.prepares, *adopting, *copying, proof)

    def __str__(self) -> str:
        head = f"share {self.share}: copy {self.sequence} (epoch {self.epoch}), "
        lines = [f"  {host}: {what}" for host, what in self.steps]
        return "\n".join([f"{head}{self.source} -> {self.destination}", *lines])

    def as_rows(self) -> list[dict[str, str]]:
        """A row for each step, in order."""
        return [{"host": host, "step": what} for host, what in self.steps]

    def proof(self, started: float, finished: float = 0.0) -> SyncProof:
        """The token of this copy."""
        return SyncProof(self.sequence, started, finished, self.epoch, self.source)


def plan_sync(
    share: Share,
    source: Side,
    destination: Side,
    machine: Machine,
    address: str,
    purpose: Purpose = "standby",
) -> SyncPlan:
    """Plan one copy. Raises PlanRefused where it could harm, with what to do instead.

    `machine` is the destination as it is registered, `address` the IP address that the source comes from.
    """
    refuse_wrong_way(share, source, destination, purpose)
    refuse_no_destination(share, destination, purpose)
    refuse_no_source(share, source, destination, purpose)
    refuse_full(share, source, destination)
    tokens = [last_token(share, side) for side in (source, destination)]
    return SyncPlan(
        share=share.name,
        source=source.host,
        destination=destination.host,
        sequence=max((token.sequence for token in tokens if token is not None), default=0) + 1,
        epoch=source.record.epoch,
        deletions=_count_deletions(share, destination),
        prepares=tuple(_plan_way(share, source, destination, machine, address)),
        adopts=tuple(path for path in paths_of(share) if destination.tree(path).token is None),
    )


def _plan_way(
    share: Share, here: Side, there: Side, machine: Machine, address: str
) -> Iterable[tuple[str, str]]:
    for side in (here, there):
        if not side.has_rsync:
            yield side.host, f"install {' '.join(PACKAGES)}"
    known = known_hosts_file(share, machine)
    if not here.public_key or here.files.get(known.path) != digest_of(known):
        yield here.host, f"a key of its own, and the host keys of {there.host}"
    if here.doors:
        yield here.host, "nobody may copy to it any more"
    wanted = door_line(share, machine, address, here.public_key) if here.public_key else ""
    files = receiver_files(share)
    if there.doors != (wanted,) or any(there.files.get(file.path) != digest_of(file) for file in files):
        yield there.host, f"takes in what {here.host} ({address}) sends for this share, and nothing else"


def _count_deletions(share: Share, there: Side) -> int:
    if not share.disk:
        return FEWEST_DELETIONS
    return max(FEWEST_DELETIONS, min(there.tree(path).used_inodes for path in paths_of(share)) // 2)
