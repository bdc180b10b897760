"""The server's part: directories, the NFS service, and exports that are exactly those of the pack. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from tasks.errors import PlanRefused
from tasks.fleet import HOME, PLATFORM_USER, WEB_GROUP, Share
from tasks.nfs.exports import (
    EXPORTS_D,
    Export,
    exports_file,
    find_differing,
    find_extra,
    is_for_all,
    is_within,
    pack_of,
    parse_exports,
    render_exports,
)
from tasks.nfs.mounted import mount_at
from tasks.nfs.state import LEASES_FILE, NFS_UNIT, MachineFacts
from tasks.nfs.steps import (
    EndDelegations,
    MakeExportDirectory,
    PutExport,
    RemoveFile,
    RunNfsServer,
    Step,
    TakeExportBack,
)
from tasks.servers.steps import CreateAccount, InstallPackages, MakeDirectory, RemovePolicy, WriteFile

SERVER_PACKAGES = ("nfs-kernel-server",)
SHELL = "/bin/bash"
# A client that dies with a file delegated to it keeps all others from that file until its lease ends, 90 s.
# And with Linux 7.2 on both sides the times that rsync sets on such a file are lost.
LEASES = "# Written by Packmaster (flow provision-pack).\nfs.leases-enable = 0\n"
# As on a server that mounts nothing: others pass through the sites' data, and cannot list whose they are.
CODE_MODE, DATA_MODE = 0o755, 0o711


def export_paths(share: Share) -> tuple[str, ...]:
    """Every directory that provisioning may have to make on the server, the outer ones first."""
    found: dict[str, None] = {}
    for path in (share.code_path, share.data_path):
        parents = [str(parent) for parent in reversed(PurePosixPath(path).parents)]
        found |= dict.fromkeys([*(p for p in parents if p != "/" and not share.disk.startswith(p)), path])
    return tuple(found)


def plan_storage(share: Share, facts: MachineFacts, uid: int, gid: int) -> tuple[Step, ...]:
    """What makes a machine able to export the share, without exporting it: for the server and its standby."""
    refuse_unfit(facts)
    refuse_unmounted(share, facts)
    return (*_plan_service(facts, uid, gid), *_plan_directories(share, facts))


def plan_exports(pack: str, share: Share, facts: MachineFacts, desired: Sequence[Export]) -> tuple[Step, ...]:
    """What makes `desired` the exports of the share, now and after a boot, and touches no other export.

    What goes is taken back first and written last, what comes is written first: a run that is killed leaves
    nothing in force that the file does not name, so the next one finds it.
    """
    refuse_foreign(pack, share, facts)
    steps: list[Step] = []
    path = exports_file(share)
    text = facts.files.get(path, "")
    wanted = {export.key for export in desired}
    in_force = {export.key: export for export in facts.table}
    for export in parse_exports(text):
        if export.key not in wanted and export.key in in_force:
            steps.append(TakeExportBack(export.path, in_force[export.key].client))
    content = render_exports(pack, desired)
    if text != content:
        if facts.path(EXPORTS_D).kind == "absent":
            steps.append(MakeDirectory(EXPORTS_D, "root", "root", 0o755))
        steps.append(WriteFile(path, content, 0o644))
    unit = facts.unit(NFS_UNIT)
    if not (unit.enabled and unit.running):
        steps.append(RunNfsServer())
    if unit.running:
        # Its start would have read the files.
        steps += [PutExport(export) for export in find_differing(desired, facts.table)]
    return tuple(steps)


def refuse_extra(share: Share, facts: MachineFacts, desired: Sequence[Export]) -> None:
    """Raise PlanRefused when somebody exports our directories by hand to who is not to have them."""
    ours = parse_exports(facts.files.get(exports_file(share), ""))
    for export in find_extra((share.code_path, share.data_path), (*desired, *ours), facts.table):
        raise PlanRefused(
            f"{facts.host} exports {export.path} to {export.client} by hand, which share {share.name} is not "
            "for",
            f"Take it back there with `exportfs -u {export.client}:{export.path}`, or list who may mount it "
            "as clients of the share",
        )


def plan_standby(share: Share, facts: MachineFacts, uid: int, gid: int) -> tuple[Step, ...]:
    """What makes the standby ready to take over. Raises PlanRefused when it exports the share already."""
    exported = [export for export in facts.table if export.path in (share.code_path, share.data_path)]
    if exported or exports_file(share) in facts.files:
        raise PlanRefused(
            f"the standby {facts.host} of share {share.name} exports it, too",
            "Two servers that are written to lose data. If it has taken over, make it the share's server "
            "in the inventory; if not, take its exports back there by hand",
        )
    return plan_storage(share, facts, uid, gid)


def plan_unexport(share: Share, facts: MachineFacts, left: Sequence[Export], pack: str) -> tuple[Step, ...]:
    """What leaves `left` of the share's exports and takes the others back; the last takes our file along."""
    path = exports_file(share)
    text = facts.files.get(path, "")
    if not text:
        return ()
    named = [export.key for export in parse_exports(text)]
    left = [export for export in left if export.key in named]
    keep = {export.key for export in left}
    in_force = {export.key: export for export in facts.table}
    gone = [key for key in named if key not in keep]
    steps: list[Step] = [TakeExportBack(key[0], in_force[key].client) for key in gone if key in in_force]
    content = render_exports(pack, left)
    if not left:
        steps.append(RemoveFile(path))
    elif text != content:
        steps.append(WriteFile(path, content, 0o644))
    return tuple(steps)


def refuse_unfit(facts: MachineFacts) -> None:
    """Raise PlanRefused for a machine that has not what packages, units and mounts are written for."""
    if "debian" not in facts.families:
        raise PlanRefused(
            f"{facts.host} runs {facts.system or 'an unknown system'}, which is not Debian nor made from it",
            "Packages, paths and services are Debian's: use a Debian or Ubuntu machine",
        )
    if not facts.systemd:
        raise PlanRefused(
            f"{facts.host} was not booted with systemd",
            "Machines of a pack mount and export at boot through it: use one that has it",
        )


def refuse_unmounted(share: Share, facts: MachineFacts) -> None:
    """Raise PlanRefused when the disk of the share is not mounted: an empty directory would be exported."""
    if share.disk and mount_at(facts.mounts, share.disk) is None:
        raise PlanRefused(
            f"on {facts.host} nothing is mounted at {share.disk}, the disk of share {share.name}",
            "Mount it there (and put it into /etc/fstab), then run this again. Nothing was exported",
        )


def refuse_foreign(pack: str, share: Share, facts: MachineFacts) -> None:
    """Raise PlanRefused when somebody else's exports contradict ours: they are never touched."""
    ours, paths = exports_file(share), (share.code_path, share.data_path)
    owner = pack_of(facts.files.get(ours, ""))
    if owner and owner != pack:
        raise PlanRefused(
            f"share {share.name} is exported by {facts.host} for the pack {owner}",
            f"Give {pack} a share of its own. If {owner} is gone, remove {ours} there, and take what it "
            "lists back with `exportfs -u client:/path`",
        )
    for file, text in sorted(facts.files.items()):
        for export in parse_exports(text) if file != ours else ():
            if is_within(export.path, paths):
                raise PlanRefused(
                    f"on {facts.host} {file} exports {export.path} to {export.client}, and share "
                    f"{share.name} needs it for itself",
                    "Take it out of that file, or choose other directories for the share",
                )
    for export in facts.table:
        around = any(f"{path}/".startswith(f"{export.path.rstrip('/')}/") for path in paths)
        if around and is_for_all(export.client):
            raise PlanRefused(
                f"{facts.host} exports {export.path} to {export.client}, which is almost everybody, and "
                f"the share {share.name} is in it",
                "Take that export back, or choose directories outside of it",
            )
        if any(option in ("fsid=0", "fsid=root") for option in export.options):
            raise PlanRefused(
                f"{facts.host} exports {export.path} as the root of NFSv4 (fsid=0), so clients see no "
                "other path",
                "Take that option off: nothing has needed it for many years",
            )


def _plan_service(facts: MachineFacts, uid: int, gid: int) -> Iterator[Step]:
    if facts.stray_policy:
        yield RemovePolicy()
    missing = tuple(name for name in SERVER_PACKAGES if name not in facts.packages)
    if missing:
        yield InstallPackages(missing)
    if facts.numbers.user is None:
        yield CreateAccount(PLATFORM_USER, uid, gid, HOME, SHELL, WEB_GROUP)
    if facts.leases or facts.path(LEASES_FILE).digest != digest_of(LEASES):
        yield EndDelegations(LEASES_FILE, LEASES)
    unit = facts.unit(NFS_UNIT)
    if unit.running and facts.versions and "+4.2" not in facts.versions:
        raise PlanRefused(
            f"the NFS server of {facts.host} does not speak version 4.2 ({' '.join(sorted(facts.versions))})",
            "Allow it in /etc/nfs.conf ([nfsd] vers4.2=y), and restart nfs-server",
        )


def _plan_directories(share: Share, facts: MachineFacts) -> Iterator[Step]:
    modes = {share.code_path: CODE_MODE, share.data_path: DATA_MODE}
    for path in export_paths(share):
        seen = facts.path(path)
        if seen.kind not in ("absent", "directory"):
            raise PlanRefused(
                f"on {facts.host} {path} is a {seen.kind} and not a directory", "Put a directory in its place"
            )
        if path not in modes:
            if seen.kind == "absent":
                yield MakeExportDirectory(path, "root", "root", 0o755, share.disk)
            continue
        if seen.kind == "directory" and seen.owner not in ("root", PLATFORM_USER):
            raise PlanRefused(
                f"on {facts.host} {path} belongs to {seen.owner}",
                f"Something else lies there: choose another directory, or give it to {PLATFORM_USER}",
            )
        if (seen.owner, seen.group, seen.mode) != (PLATFORM_USER, PLATFORM_USER, modes[path]):
            yield MakeExportDirectory(path, PLATFORM_USER, PLATFORM_USER, modes[path], share.disk)


def digest_of(text: str) -> str:
    """SHA-256 of a file's text, as sha256sum prints it."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
