"""A pack in memory: one server, a standby, a master and two slaves; and what each step makes of the facts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from tasks.fleet import Machine, Node, Share, Target
from tasks.nfs import steps as todo
from tasks.nfs.exports import EXPORTS_D, exports_file, parse_exports
from tasks.nfs.ids import ChangeIds, after
from tasks.nfs.mounted import MountEntry
from tasks.nfs.mounts import Mount
from tasks.nfs.plan import MachinePlan, ProvisionPlan, plan_provision
from tasks.nfs.state import MOUNTS_UNIT, NFS_UNIT, Beneath, MachineFacts, Numbers, UnitState
from tasks.nfs.storage import digest_of
from tasks.servers.state import PathState
from tasks.servers.steps import CreateAccount, InstallPackages, MakeDirectory, RemovePolicy, WriteFile

KEY = SecretStr("")
NUMBERS = Numbers(5000, 5000, 5000, 33, 33)
DISK = "/srv/disk"
CODE, DATA = "/var/aegir/platforms", "/var/aegir/sites"
FSTAB = "UUID=1-2\t/  ext4 defaults 0 1\n# a comment\n/dev/sdb1 /mnt/old ext4 ro 0 2"
ROOT = MountEntry("/", "ext4", "/dev/ubda", "/", "98:0", frozenset({"rw"}), frozenset({"rw"}))
ON_DISK = MountEntry(DISK, "ext4", "/dev/ubdb", "/", "98:16", frozenset({"rw"}), frozenset({"rw"}))


def machine(name: str, last: int) -> Machine:
    return Machine(name, f"192.0.2.{last}", "nfs", KEY, ())


def node(name: str, last: int) -> Node:
    return Node(name, f"192.0.2.{last}", "apache", KEY, ())


SERVER, STANDBY = machine("nfs1", 61), machine("nfs2", 62)
MASTER, SLAVE1, SLAVE2 = node("master1", 71), node("slave1", 72), node("slave2", 73)


def share(**changes: Any) -> Share:
    code, data = f"{DISK}/blogs/platforms", f"{DISK}/blogs/sites"
    return replace(Share("blogs", SERVER, SERVER.address, code, data, STANDBY, disk=DISK), **changes)


def pack(**changes: Any) -> Target:
    return Target("demo", (MASTER, SLAVE1, SLAVE2), "master1", share(**changes))


OURS = exports_file(share())


def bare(name: str, **changes: Any) -> MachineFacts:
    """A machine on which nothing of ours is, but with the disk of the share."""
    facts = MachineFacts(
        host=name,
        families=frozenset({"debian"}),
        systemd=True,
        numbers=Numbers(web_user=33, web_group=33),
        mounts=(ROOT, ON_DISK) if name.startswith("nfs") else (ROOT,),
        fstab=FSTAB,
        leases=True,
        paths={DISK: PathState("directory", "root", "root", 0o755)},
    )
    return replace(facts, **changes)


def bare_facts() -> dict[str, MachineFacts]:
    return {name: bare(name) for name in ("nfs1", "nfs2", "master1", "slave1", "slave2")}


def provided(target: Target | None = None) -> dict[str, MachineFacts]:
    """The machines after one plan for bare ones."""
    facts = bare_facts()
    return apply_to(facts, plan_provision(target or pack(), facts))


def steps_of(plan: ProvisionPlan, host: str) -> list[str]:
    return [str(step) for each in plan.phases if each.host == host for step in each.steps]


def apply_to(facts: Mapping[str, MachineFacts], plan: ProvisionPlan) -> dict[str, MachineFacts]:
    return apply_all(facts, plan.phases)


def apply_all(facts: Mapping[str, MachineFacts], plans: tuple[MachinePlan, ...]) -> dict[str, MachineFacts]:
    now = dict(facts)
    for each in plans:
        for step in each.steps:
            now[each.host] = apply_step(now[each.host], step)
    return now


def apply_step(facts: MachineFacts, step: todo.Step) -> MachineFacts:  # noqa: C901, PLR0911, PLR0912
    match step:
        case ChangeIds():
            return after(facts, [step])
        case RemovePolicy():
            return replace(facts, stray_policy=False)
        case InstallPackages(names):
            return replace(facts, packages=facts.packages | set(names))
        case CreateAccount(_, uid, gid):
            return replace(facts, numbers=replace(facts.numbers, user=uid, user_gid=gid, group=gid))
        case MakeDirectory(path, owner, group, mode) | todo.MakeExportDirectory(path, owner, group, mode):
            return with_path(facts, path, PathState("directory", owner, group, mode))
        case WriteFile(path, content, mode):
            written = with_path(facts, path, PathState("file", "root", "root", mode, digest_of(content)))
            return replace(written, files={**facts.files, path: content}) if EXPORTS_D in path else written
        case todo.RemoveFile(path):
            files = {name: text for name, text in facts.files.items() if name != path}
            return replace(with_path(facts, path, PathState()), files=files)
        case todo.RunNfsServer():
            named = [export for text in facts.files.values() for export in parse_exports(text)]
            on = with_unit(facts, NFS_UNIT, UnitState(True, True))
            return on if facts.unit(NFS_UNIT).running else replace(on, table=tuple(named))
        case todo.EndDelegations(path, content):
            state = PathState("file", "root", "root", 0o644, digest_of(content))
            return replace(with_path(facts, path, state), leases=False)
        case todo.PutExport(export):
            others = tuple(one for one in facts.table if one.key != export.key)
            return replace(facts, table=(*others, export))
        case todo.TakeExportBack(path, client):
            return replace(facts, table=tuple(e for e in facts.table if (e.path, e.client) != (path, client)))
        case todo.EnableUnit(unit):
            return with_unit(facts, unit, UnitState(True, False))
        case todo.DisableUnit(unit):
            return with_unit(facts, unit, UnitState())
        case todo.SealMountPoint(point):
            return with_beneath(facts, point, Beneath("directory", "root", "root", 0o555))
        case todo.OpenMountPoint(point, mode):
            return with_beneath(facts, point, Beneath("directory", "aegir", "aegir", mode))
        case todo.MountShare(mount):
            return replace(facts, mounts=(*facts.mounts, mounted(mount)))
        case todo.MountAnew(mounts):
            anew = {mount.point: mounted(mount) for mount in mounts}
            others = tuple(entry for entry in facts.mounts if entry.point not in anew)
            answers = {**facts.answers, **dict.fromkeys(anew, "ok")}
            return replace(facts, mounts=(*others, *anew.values()), answers=answers)
        case todo.Unmount(point):
            return replace(facts, mounts=tuple(entry for entry in facts.mounts if entry.point != point))
        case todo.WriteFstab(text, before):
            assert digest_of(facts.fstab) == before
            return replace(facts, fstab=text)
    raise AssertionError(step)


def mounted(mount: Mount) -> MountEntry:
    """What the kernel shows of a mount that is as it was asked for."""
    if mount.kind == "bind":
        below = mount.source.removeprefix(DISK)
        return MountEntry(
            mount.point, "ext4", "/dev/ubdb", below, "98:16", frozenset({"rw"}), frozenset({"rw"})
        )
    own = {option for option in mount.options if option in ("ro", "rw", "noatime")}
    address = mount.source.partition(":/")[0].strip("[]")
    rest = {o for o in mount.options if not o.startswith(("_", "x-", "nofail", "retry")) and o != "noatime"}
    return MountEntry(
        *(mount.point, "nfs4", mount.source, "/", "0:45"),
        frozenset(own | {"nodev"}),
        frozenset(rest | {f"addr={address}", "proto=tcp", "rsize=131072"}),
    )


def with_path(facts: MachineFacts, path: str, state: PathState) -> MachineFacts:
    return replace(facts, paths={**facts.paths, path: state})


def with_unit(facts: MachineFacts, name: str, state: UnitState) -> MachineFacts:
    return replace(facts, units={**facts.units, name: state})


def with_beneath(facts: MachineFacts, point: str, state: Beneath) -> MachineFacts:
    return replace(facts, beneath={**facts.beneath, point: state})


__all__ = ["MOUNTS_UNIT", "apply_all", "apply_to", "bare", "bare_facts", "pack", "share"]
