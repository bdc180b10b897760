"""Which nodes are to mount anew, one after the other, and what nobody can mend by mounting. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tasks.liveness.history import Row, Watch
from tasks.liveness.quorum import SERVER
from tasks.liveness.values import Member, Sample, Sight, Verdict, Watched
from tasks.nfs.mounts import Mount

_MENDED = frozenset({Verdict.STALE, Verdict.NOT_MOUNTED, Verdict.WRONG_SERVER, Verdict.HUNG})
_WORKS = frozenset({Verdict.OK, Verdict.SLOW, Verdict.DRAINED})
_UNASKED = "its node cannot be asked"
_SILENT = "its server does not answer this node: bring that back first"
_FOLLOWS = "the mount follows by itself, and by force it would lose what was written to it"
_REMEDIES = {
    Verdict.READ_ONLY: "run provision-pack for its mount options, or see to the server's disk",
    Verdict.DENIED: "the server does not let it in: run provision-pack",
    Verdict.IDMAP_MISMATCH: "users have other numbers here: run provision-pack with fix_ids",
    Verdict.UNSEEN: "it cannot be asked: bring it back first",
    Verdict.DRAINED: "php-fpm starts when all mounts of the node are right",
    Verdict.SLOW: "it works: look at the network and at the server's disk",
}


@dataclass(frozen=True, slots=True)
class Remount:
    """One mount of a node that is mounted anew. `dead` says that what is mounted now answers nobody, so that
    taking it away by force loses nothing that was not lost.
    """

    mount: Mount
    verdict: Verdict
    dead: bool

    def __str__(self) -> str:
        return f"{self.mount.point} is {self.verdict}: mount it from {self.mount.source}"


@dataclass(frozen=True, slots=True)
class NodeRepair:
    """What is done on one node: php-fpm is stopped, `remounts` are mounted anew, php-fpm starts again.

    Without remounts the node was left stopped, and is only started again. One that `drains` is only stopped:
    what it mounts hangs, and others are to bring that back.
    """

    host: str
    remounts: tuple[Remount, ...] = ()
    drains: bool = False

    @property
    def steps(self) -> tuple[str, ...]:
        """What is done, in order."""
        if self.drains:
            return ("stop php-fpm, so that nobody waits for what hangs",)
        return tuple(str(remount) for remount in self.remounts) or ("php-fpm was left stopped: start it",)

    def __str__(self) -> str:
        return "\n".join([f"{self.host}:", *(f"  {step}" for step in self.steps)])


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """Nodes in the order in which they are repaired; (machine, mount, verdict, remedy) of what is left."""

    share: str
    repairs: tuple[NodeRepair, ...] = ()
    left: tuple[tuple[str, str, str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.repairs)

    @property
    def needs_flush(self) -> bool:
        """Whether the server may still answer from a directory that was removed."""
        return any(one.verdict is Verdict.STALE for repair in self.repairs for one in repair.remounts)

    def __str__(self) -> str:
        said = [str(repair) for repair in self.repairs]
        said += [f"{machine} {mount} is {verdict}: {why}" for machine, mount, verdict, why in self.left]
        return "\n".join(said) or f"share {self.share}: nothing to repair"

    def as_rows(self) -> list[dict[str, str]]:
        """What is done, in order, then what is left as it is."""
        rows = []
        for order, repair in enumerate(self.repairs, 1):
            rows += [{"order": str(order), "machine": repair.host, "step": step} for step in repair.steps]
        for machine, mount, verdict, why in self.left:
            rows.append({"order": "", "machine": machine, "step": f"left: {mount} is {verdict}: {why}"})
        return rows or [{"order": "", "machine": self.share, "step": "nothing to repair"}]


def plan_repair(watched: Watched, watch: Watch, sample: Sample, *, returned: bool = False) -> RepairPlan:
    """Plan to mount anew what is stale, away, from the wrong server, or hangs though its server is well.

    `watch` is settled and of this run, `sample` its last one; `returned` says that the server was down until
    a moment ago. A mount that is OK is never touched, nor is a node on which all are. One that hangs with its
    server is left, for it may hold what was written and is not on the disk yet. Of a share of mode external,
    which others move, nothing is mounted anew: nodes on which it hangs for longer than a failover may take
    are drained, until it answers again.
    """
    repairs, left = [], []
    trouble = find_trouble(watched, watch, sample, returned=returned)
    for member in watched.members:
        rows = {mount: watch.rows[member.name, mount.point] for mount in member.mounts}
        verdicts = {mount: row.verdict for mount, row in rows.items()}
        sight = sample.nodes.get(member.name)
        why = {mount: _find_obstacle(row, sight, trouble) for mount, row in rows.items()}
        remounts = tuple(
            Remount(mount, verdict, _is_dead(member, mount, verdict, sample))
            for mount, verdict in verdicts.items()
            if verdict in _MENDED and not watched.external and not why[mount]
        )
        drained = sight is not None and bool(sight.drained)
        starts = drained and _WORKS.issuperset(verdicts.values())
        left += _find_left(member, verdicts, why, {one.mount for one in remounts}, starts=starts)
        if remounts or starts:
            repairs.append(NodeRepair(member.name, remounts))
        elif watched.external and sight is not None and not drained and Verdict.HUNG in verdicts.values():
            repairs.append(NodeRepair(member.name, drains=True))
    left += [
        (machine, mount, row.verdict.value, row.detail)
        for (machine, mount), row in watch.rows.items()
        if machine not in {member.name for member in watched.members} and not row.verdict.healthy
    ]
    # What could not be mended before comes last: the first that stays drained is the last that is tried.
    repairs.sort(key=lambda repair: bool(repair.remounts and sample.nodes[repair.host].drained))
    return RepairPlan(watched.share, tuple(repairs), tuple(left))


def find_trouble(watched: Watched, watch: Watch, sample: Sample, *, returned: bool = False) -> str:
    """Why a mount may hang that nothing is wrong with but its server, or nothing.

    That a server answers says little: nfsd does while its disk is slow, or does not answer at all.
    """
    if watched.external:
        return "its own cluster is to bring it back"
    row = watch.rows[watched.server, SERVER]
    seen = row.sign.verdict if row.sign else row.verdict
    if not {row.verdict, seen} <= {Verdict.OK, Verdict.SLOW}:
        bad = row.verdict if row.verdict not in {Verdict.OK, Verdict.SLOW} else seen
        return f"its server is {bad}: see to that first; {_FOLLOWS}"
    if sample.server is None:
        return f"its server cannot be looked into, so nobody knows of its disk: see to that first; {_FOLLOWS}"
    if sample.server.grace or returned:
        return f"its server is back since a moment only; {_FOLLOWS}. Run this again when it does not"
    return ""


def _find_obstacle(row: Row, sight: Sight | None, trouble: str) -> str:
    """Why a mount that mounting anew might mend is left as it is, or nothing."""
    if row.verdict not in _MENDED:
        return ""
    if sight is None:
        return _UNASKED
    if row.sign is not None:
        return f"it looked {row.sign.verdict} in the last sample: run this again"
    if not sight.null.ok:
        return _SILENT
    return trouble if row.verdict is Verdict.HUNG else ""


def _is_dead(member: Member, mount: Mount, verdict: Verdict, sample: Sample) -> bool:
    hangs = sample.nodes[member.name].path(mount.point).hung_since is not None
    return verdict in {Verdict.STALE, Verdict.HUNG} or hangs


def _find_left(
    member: Member,
    verdicts: Mapping[Mount, Verdict],
    why: Mapping[Mount, str],
    done: Collection[Mount],
    *,
    starts: bool,
) -> list[tuple[str, str, str, str]]:
    return [
        (member.name, mount.point, verdict.value, why[mount] or _REMEDIES.get(verdict, _UNASKED))
        for mount, verdict in verdicts.items()
        if mount not in done and not verdict.healthy and not (starts and verdict is Verdict.DRAINED)
    ]
