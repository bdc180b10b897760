"""A pack in memory that is well: what its machines print, and how to make one of them see something else."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from tasks.fleet import PLATFORMS, SITES, Machine, Node, Share, Target
from tasks.liveness.values import (
    Ids,
    Member,
    NullAnswer,
    PathSight,
    Sample,
    Sight,
    Step,
    Watched,
)
from tasks.nfs.exports import desired_exports
from tasks.nfs.mounted import MountEntry
from tasks.nfs.mounts import desired_mounts

KEY = SecretStr("")
DISK = "/srv/packmaster"
CODE, DATA = f"{DISK}/files/platforms", f"{DISK}/files/sites"
SERVER = Machine("nfs1", "192.0.2.61", "nfs", KEY, ())
NODES = tuple(
    Node(name, f"192.0.2.{last}", "apache", KEY, ())
    for name, last in (("master1", 71), ("slave1", 72), ("slave2", 73))
)
SHARE = Share("files", SERVER, SERVER.address, CODE, DATA, disk=DISK)
PACK = Target("farm", NODES, "master1", SHARE)
WATCHED = Watched(
    share="files",
    server="nfs1",
    address=SERVER.address,
    members=tuple(Member(node.name, desired_mounts(PACK, node)) for node in NODES),
    exports=desired_exports(PACK),
    directories=(CODE, DATA),
    disk=DISK,
)
EXTERNAL = replace(WATCHED, external=True, failover_seconds=60)
IDS = Ids(5000, 5000, 33)
WELL, SILENT = NullAnswer("ok", 0.002), NullAnswer("silent", 2.0, "no connection")
REFUSED = NullAnswer("refused", 0.001, "Connection refused")
HANGS = PathSight(hung_since=1795415160.0)
Damage = Callable[[Sight], Sight]


def path(**steps: Step) -> PathSight:
    """A path that is well, but for the steps given."""
    well = {
        "root": Step("ok", 0.001, ("5000", "5000", "0755", "16385")),
        "lookup": Step("ok", 0.002, ("absent",)),
        "token": Step("ok", 0.001, ("none",)),
        "write": Step("ok", 0.01, ("written",)),
    }
    return PathSight(well | steps)


def failing(step: str, errno: str) -> PathSight:
    """A path on which a step failed, after which no other was tried."""
    steps = dict(path().steps)
    return PathSight(
        {name: steps[name] for name in list(steps)[: list(steps).index(step)]} | {step: Step(errno)}
    )


def entry(
    point: str, source: str, fstype: str = "nfs4", mode: str = "rw", addr: str = SERVER.address
) -> MountEntry:
    kept = {"rw", "ro"} & {mode}
    return MountEntry(
        point, fstype, source, "/", "0:31", frozenset({*kept, "noatime"}), frozenset({*kept, f"addr={addr}"})
    )


def node_sight(name: str = "slave1") -> Sight:
    code = "rw" if name == "master1" else "ro"
    mounts = (
        entry(PLATFORMS, f"{SERVER.address}:{CODE}", mode=code),
        entry(SITES, f"{SERVER.address}:{DATA}"),
    )
    return Sight(IDS, WELL, {PLATFORMS: path(), SITES: path()}, mounts)


def server_sight() -> Sight:
    space = Step("ok", 0.1, ("4096", "126773", "120000", "32768", "32000"))
    disk = MountEntry(DISK, "ext4", "/dev/ubdb", "/", "98:16", frozenset({"rw"}), frozenset({"rw"}))
    return Sight(
        ids=IDS,
        null=WELL,
        paths={CODE: path(space=space), DATA: path(space=space)},
        mounts=(disk,),
        threads=8,
        exports=WATCHED.exports,
    )


def sample(**changes: Any) -> Sample:
    well = Sample(WELL, {node.name: node_sight(node.name) for node in NODES}, server_sight())
    return replace(well, **changes)


def on(names: str, damage: Damage, **changes: Any) -> Sample:
    """A sample in which the named nodes see something else."""
    nodes: Mapping[str, Sight] = sample().nodes
    damaged = {name: damage(seen) if name in names.split() else seen for name, seen in nodes.items()}
    return sample(nodes=damaged, **changes)


def at(point: str, seen: PathSight) -> Damage:
    return lambda sight: replace(sight, paths={**sight.paths, point: seen})


def mounted(*mounts: MountEntry) -> Damage:
    return lambda sight: replace(sight, mounts=mounts)


def cut_off(sight: Sight) -> Sight:
    """It sees what a node sees whose server is silent."""
    return replace(sight, null=SILENT, paths={PLATFORMS: HANGS, SITES: HANGS})
