"""A node's part: mount points that hide nothing, mounts as asked, fstab lines, mounts at boot. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from tasks.errors import PlanRefused
from tasks.fleet import PLATFORM_USER
from tasks.nfs.fstab import edit_fstab, parse_fstab
from tasks.nfs.mounted import MountEntry, differences, is_reached_elsewhere, mount_at
from tasks.nfs.mounts import Mount
from tasks.nfs.state import (
    HUNG,
    MOUNTS_SCRIPT,
    MOUNTS_UNIT,
    MOUNTS_UNIT_FILE,
    OK,
    Beneath,
    MachineFacts,
)
from tasks.nfs.steps import (
    DisableUnit,
    EnableUnit,
    MountAnew,
    MountShare,
    OpenMountPoint,
    RemoveFile,
    SealMountPoint,
    Step,
    Unmount,
    WriteFstab,
)
from tasks.nfs.storage import digest_of, refuse_unfit
from tasks.nfs.units import MOUNT_FILES
from tasks.servers.managed import DIRECTORIES
from tasks.servers.steps import InstallPackages, RemovePolicy

CLIENT_PACKAGES = ("nfs-common",)
SEALED = ("directory", "root", "root", 0o555)


def plan_attach(mounts: Sequence[Mount], facts: MachineFacts) -> tuple[Step, ...]:
    """What makes `mounts` the node's mounts of the share, now and at every boot.

    Raises PlanRefused where data would be hidden, where somebody else's mount or line is in the way, and
    where a mount does not answer: that is for check-share and repair-share.
    """
    refuse_unfit(facts)
    refuse_hung(mounts, facts)
    for mount in mounts:
        _refuse_in_the_way(mount, facts)
    return (*_plan_packages(facts), *_plan_units(facts), *_plan_mounts(mounts, facts))


def plan_detach(mounts: Sequence[Mount], facts: MachineFacts) -> tuple[Step, ...]:
    """What leaves nothing of the share on the node: first the fstab lines, which would bring it back."""
    share = mounts[0].share if mounts else ""
    text = edit_fstab(facts.fstab, share, ())
    steps: list[Step] = []
    if text != facts.fstab:
        steps.append(WriteFstab(text, digest_of(facts.fstab), f"no line of share {share}"))
    if not any(line.share for line in parse_fstab(text)):
        if facts.unit(MOUNTS_UNIT).enabled:
            steps.append(DisableUnit(MOUNTS_UNIT))
        steps += [RemoveFile(path) for path in _present(facts, (MOUNTS_UNIT_FILE, MOUNTS_SCRIPT))]
    for mount in reversed(mounts):
        if _is_ours(mount, facts, mount_at(facts.mounts, mount.point)):
            steps.append(Unmount(mount.point))
        if _is_sealed(facts.beneath.get(mount.point, Beneath())):
            steps.append(OpenMountPoint(mount.point, _mode_of(mount.point)))
    return tuple(steps)


def refuse_hung(mounts: Sequence[Mount], facts: MachineFacts) -> None:
    """Raise PlanRefused for a mount whose server does not answer: everything that looks at it would hang."""
    for mount in mounts:
        if facts.answers.get(mount.point) == HUNG:
            entry = mount_at(facts.mounts, mount.point)
            raise PlanRefused(
                f"on {facts.host} {mount.point}, mounted from {entry.source if entry else '?'}, does not "
                "answer",
                "Is its NFS server up? When it is, and this stays, run repair-share. Nothing was touched "
                "here",
            )


def _refuse_in_the_way(mount: Mount, facts: MachineFacts) -> None:
    lines = [line for line in parse_fstab(facts.fstab) if line.point == mount.point]
    for line in lines:
        if line.share != mount.share:
            whose = f"share {line.share}, of another pack" if line.share else "somebody else"
            raise PlanRefused(
                f"on {facts.host} {mount.point} has a line of {whose} in /etc/fstab: {line.text.strip()}",
                "A node belongs to one pack: remove it from the other one, or take the line out and "
                "unmount it",
            )
    entry = mount_at(facts.mounts, mount.point)
    if entry is not None and not _is_ours(mount, facts, entry):
        raise PlanRefused(
            f"on {facts.host} {entry.source} ({entry.fstype}) is mounted at {mount.point} already",
            "It is not one of ours: unmount it, take it out of /etc/fstab, and copy what it holds into "
            "the share",
        )
    nested = [one.point for one in facts.mounts if one.point.startswith(f"{mount.point}/")]
    if nested:
        raise PlanRefused(
            f"on {facts.host} {nested[0]} is mounted inside of {mount.point}",
            "Unmount it: what is in the share is the same on every node",
        )
    beneath = facts.beneath.get(mount.point, Beneath())
    if beneath.kind not in ("absent", "directory"):
        raise PlanRefused(
            f"on {facts.host} {mount.point} is a {beneath.kind} and not a directory",
            "Put an empty directory in its place",
        )
    if beneath.entries:
        raise PlanRefused(
            f"on {facts.host} {mount.point} is not empty beneath the mount, and the share would hide what "
            f"is in it ({', '.join(beneath.entries)})",
            f"Move it aside (while nothing is mounted there: `mv {mount.point} {mount.point}.before`), run "
            "this again, and copy what is needed into the share through the mount. Nothing was touched "
            "here",
        )


def _is_ours(mount: Mount, facts: MachineFacts, entry: MountEntry | None) -> bool:
    """Whether a mount may be replaced: it comes from where ours does, or a line of ours says so."""
    if entry is None:
        return False
    for line in parse_fstab(facts.fstab):
        if (line.point, line.share) == (mount.point, mount.share):
            # Whatever server it came from; but never somebody's own disk.
            return entry.is_nfs or "bind" in line.text.split()[3].split(",")
    return entry.source == mount.source if mount.kind == "nfs" else not differences(mount, facts.mounts)


def _plan_packages(facts: MachineFacts) -> Iterator[Step]:
    if facts.stray_policy:
        yield RemovePolicy()
    missing = tuple(name for name in CLIENT_PACKAGES if name not in facts.packages)
    if missing:
        yield InstallPackages(missing)


def _plan_units(facts: MachineFacts) -> Iterator[Step]:
    changed = False
    for file in MOUNT_FILES:
        seen = facts.path(file.path)
        digest = hashlib.sha256(file.content.encode()).hexdigest()
        if (seen.kind, seen.owner, seen.group, seen.mode, seen.digest) != (
            *("file", "root", "root"),
            file.mode,
            digest,
        ):
            changed = True
            yield file
    if changed or not facts.unit(MOUNTS_UNIT).enabled:
        yield EnableUnit(MOUNTS_UNIT)


def _plan_mounts(mounts: Sequence[Mount], facts: MachineFacts) -> Iterator[Step]:
    written = {line.text.strip() for line in parse_fstab(facts.fstab) if line.share}
    marked = {line.point for line in parse_fstab(facts.fstab) if line.share}
    for mount in mounts:
        if not _is_sealed(facts.beneath.get(mount.point, Beneath())):
            yield SealMountPoint(mount.point)
    elsewhere = tuple(mount for mount in mounts if _changes_address(mount, facts))
    if elsewhere:
        found = [words for mount in elsewhere for words in differences(mount, facts.mounts)]
        yield MountAnew(elsewhere, "; ".join(dict.fromkeys(found)))
    for mount in mounts:
        if mount in elsewhere:
            continue
        wrong = differences(mount, facts.mounts)
        answer = facts.answers.get(mount.point, OK)
        if mount_at(facts.mounts, mount.point) is None:
            yield MountShare(mount)
        elif wrong or answer != OK:
            yield MountAnew((mount,), "; ".join(wrong) or answer)
        elif mount.point in marked and mount.fstab_line not in written:
            # The kernel does not show every option, and what was mounted was mounted by the old line.
            yield MountAnew((mount,), "its line in /etc/fstab was another one")
    text = edit_fstab(facts.fstab, mounts[0].share, mounts) if mounts else facts.fstab
    if text != facts.fstab:
        about = f"lines of share {mounts[0].share} for {' and '.join(mount.point for mount in mounts)}"
        yield WriteFstab(text, digest_of(facts.fstab), about)


def _changes_address(mount: Mount, facts: MachineFacts) -> bool:
    entry = mount_at(facts.mounts, mount.point)
    return mount.kind == "nfs" and entry is not None and entry.is_nfs and is_reached_elsewhere(mount, entry)


def _is_sealed(beneath: Beneath) -> bool:
    return (beneath.kind, beneath.owner, beneath.group, beneath.mode) == SEALED


def _mode_of(point: str) -> int:
    return next((one.mode for one in DIRECTORIES if one.path == point and one.owner == PLATFORM_USER), 0o755)


def _present(facts: MachineFacts, paths: Sequence[str]) -> list[str]:
    return [path for path in paths if facts.path(path).kind == "file"]
