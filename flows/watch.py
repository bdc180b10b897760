"""Looking at a share until it is clear what is so: one sample when all is as before, up to five when not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from prefect import get_run_logger

from blocks import Pack, Share
from flows.locks import is_at_work
from tasks import fleet
from tasks.errors import PlanRefused
from tasks.external import MemberSight, find_cluster, look_at_member
from tasks.fleet import Machine, Node, Target
from tasks.liveness import (
    Member,
    NullAnswer,
    Sample,
    Watch,
    Watched,
    ask_server,
    find_all,
    judge,
    look_at_server,
    look_from_node,
    mark_left_behind,
    resolve_address,
)
from tasks.liveness.quorum import Key
from tasks.liveness.verdicts import Finding
from tasks.nfs.exports import desired_exports
from tasks.nfs.mounts import desired_mounts
from tasks.steps import Gathered, join

# With three to raise and two to clear, two more settle what changed while it was looked at.
MOST_SAMPLES = 5
PAUSE_SECONDS = 0.2
# The first sample gives everybody two seconds; who was silent then is asked again with less patience, for a
# hang is to be known within ten. Who is about to take mounts away has the patience of the first.
FIRST_SECONDS, NEXT_SECONDS, PATIENT_SECONDS = 2.0, 1.5, 2.0
NOTHING = Watch()


@dataclass(frozen=True, slots=True)
class Circle:
    """A share, the packs that use it, everybody who mounts it, and what all of that should be."""

    share: fleet.Share
    watched: Watched
    nodes: Mapping[str, Node]
    targets: tuple[Target, ...] = ()

    @property
    def cluster(self) -> tuple[Machine, ...]:
        """The servers, of a share that others keep available, that can be looked into."""
        partner = self.share.partner
        return (self.share.server, partner) if self.watched.external and partner is not None else ()

    @property
    def packs(self) -> tuple[str, ...]:
        return tuple(target.name for target in self.targets)

    @property
    def target(self) -> Target:
        """All machines concerned, to be locked together."""
        return Target(self.share.name, tuple(self.nodes.values()), share=self.share)


@dataclass(frozen=True, slots=True)
class Looked:
    """What is so after the last of `samples` samples."""

    watch: Watch
    sample: Sample
    samples: int


def find_circle(share: Share, server: str = "") -> Circle:
    """The nodes of every pack that uses the share; PlanRefused when there is none.

    All is as if `server`, when it is the share's standby, were its server.
    """
    resolved = share.resolve().served_by(server)
    found = [pack for _, pack in sorted(Pack.find_all().items()) if pack.share.name == share.name]
    packs = [replace(pack.resolve(), share=resolved) for pack in found]
    if not packs:
        raise PlanRefused(
            f"no pack uses the share {resolved.name}", "Register a pack, or choose another share"
        )
    nodes = {node.name: node for pack in packs for node in pack.nodes}
    mounts = {node.name: desired_mounts(pack, node) for pack in packs for node in pack.nodes}
    exports = {export for pack in packs for export in desired_exports(pack)}
    watched = Watched(
        share=resolved.name,
        server=resolved.server.name,
        address=resolve_address(resolved.address),
        members=tuple(Member(name, mounts[name]) for name in nodes),
        exports=tuple(sorted(exports)),
        directories=(resolved.code_path, resolved.data_path),
        disk=resolved.disk,
        external=resolved.mode == "external",
        failover_seconds=resolved.failover_seconds,
    )
    return Circle(resolved, watched, nodes, tuple(packs))


def look(circle: Circle, before: Watch, later: float = NEXT_SECONDS) -> Looked:
    """Take samples until no further one could change what is held to be so, or MOST_SAMPLES were taken.

    None but the first waits longer than `later` seconds for a mount or server.
    """
    watch, samples = before, 0
    while True:
        sample, found = take_sample(circle, later if samples else FIRST_SECONDS, watch)
        watch = judge(watch, found, datetime.now(UTC), circle.watched)
        samples += 1
        if watch.settled or samples == MOST_SAMPLES:
            return Looked(watch, sample, samples)
        signs = [f"{' '.join(key)}: {row.sign.verdict}" for key, row in watch.rows.items() if row.sign]
        get_run_logger().info("sample %d of share %s: %s", samples, circle.share.name, "; ".join(signs))
        time.sleep(PAUSE_SECONDS)


def take_sample(
    circle: Circle, seconds: float = FIRST_SECONDS, before: Watch = NOTHING
) -> tuple[Sample, dict[Key, Finding]]:
    """What every observer sees, asked all at once, and what follows from it, `before` being held to be so.

    None waits longer than `seconds` for a mount or server.
    """
    watched = circle.watched
    here = ask_server.submit(watched.address, seconds)
    # A server that others keep available is only looked at from outside.
    inside = [] if watched.external else [look_at_server.submit(circle.share.server, watched, seconds)]
    looks = [look_from_node.submit(circle.nodes[m.name], watched, m, seconds) for m in watched.members]
    asked = [look_at_member.submit(machine) for machine in circle.cluster]
    (answer,), server, nodes = join([here]), join(inside), join(looks)
    unseen = {seen.host: seen.error for seen in (*server, *nodes) if seen.error is not None}
    sample = Sample(
        controller=answer.value or NullAnswer("silent", detail=answer.error or ""),
        nodes={seen.host: seen.value for seen in nodes if seen.value is not None},
        server=next((seen.value for seen in server if seen.value is not None), None),
        unseen=unseen,
    )
    found = judge_nodes(circle, sample, before)
    return sample, found | judge_cluster(circle, join(asked))


def judge_nodes(circle: Circle, sample: Sample, before: Watch) -> dict[Key, Finding]:
    """A finding for every mount and for the server; what a run left behind is told of.

    Not what one does on its way: it holds the share's lock. add-node exports to a server that is not listed
    yet, and several drain nodes.
    """
    found = find_all(circle.watched, sample)
    marked = mark_left_behind(circle.watched, sample, found)
    if marked == found or not is_at_work(circle.share.name):
        return marked
    known = {key for key, row in before.rows.items() if key in marked and row.verdict is marked[key].verdict}
    return mark_left_behind(circle.watched, sample, found, known)


def judge_cluster(circle: Circle, seen: tuple[Gathered[MemberSight], ...]) -> dict[Key, Finding]:
    """A finding for each server of the share's cluster; nothing for a share that has none registered."""
    watched = circle.watched
    return find_cluster(
        [machine.name for machine in circle.cluster],
        watched.address,
        watched.directories,
        {each.host: each.value for each in seen if each.value is not None},
        {each.host: each.error for each in seen if each.error is not None},
    )
