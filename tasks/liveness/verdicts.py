"""From what was seen of one mount to one verdict on it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.liveness.values import PathSight, Sight, Verdict, Watched
from tasks.nfs.mounted import MountEntry, differences, mount_at
from tasks.nfs.mounts import Mount

# A healthy probe of a mount takes some hundredths of a second; above this, people wait for pages. It is at
# most half of what a sample allows, so that what is slow is seen to be slow, and not taken for what hangs.
SLOW_SECONDS = 0.7

_MEANINGS = {
    "ESTALE": (Verdict.STALE, "the server no longer knows what was mounted"),
    "ENOENT": (Verdict.STALE, "what was mounted is gone"),
    "EROFS": (Verdict.READ_ONLY, "the server lets nobody write"),
    "ENOSPC": (Verdict.READ_ONLY, "the server's disk is full"),
    "EDQUOT": (Verdict.READ_ONLY, "the quota on the server's disk is used up"),
    "EACCES": (Verdict.DENIED, "permission denied"),
    "EPERM": (Verdict.DENIED, "permission denied"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One verdict of one sample, and why."""

    verdict: Verdict
    detail: str = ""


def find_mount(watched: Watched, node: str, mount: Mount, sight: Sight, server: Sight | None) -> Finding:
    """The verdict on one mount of a node: what hides other faults comes first."""
    entry, seen = mount_at(sight.mounts, mount.point), sight.path(mount.point)
    return (
        _find_wrong_place(watched, mount, entry, sight)
        or _find_foreign_ids(node, mount, sight, server)
        or _find_hang(seen)
        or _find_failure(mount, entry, seen)
        or _find_ghost(mount, seen, server)
        or _find_other_token(watched, mount, seen, server)
        or _find_pace(mount, sight, seen)
    )


def directory_of(mount: Mount) -> str:
    """The directory on the server that a mount shows."""
    return mount.source if mount.kind == "bind" else f"/{mount.source.rpartition(':/')[2]}"


def explain(path: PathSight) -> Finding | None:
    """What the first step means that did not work; an errno that no file system gives in health is a hang."""
    failed = path.failed
    if failed is None:
        return None
    name, step = failed
    verdict, why = _MEANINGS.get(step.result, (Verdict.HUNG, step.result))
    return Finding(verdict, f"{name}: {why}")


def _find_wrong_place(
    watched: Watched, mount: Mount, entry: MountEntry | None, sight: Sight
) -> Finding | None:
    if entry is None or entry.fstype == "autofs":
        waits = ", its automount waits" if entry else ""
        return Finding(Verdict.NOT_MOUNTED, f"nothing is mounted there{waits}")
    if mount.kind == "bind":
        other = [text for text in differences(mount, sight.mounts) if "read-only" not in text]
        return Finding(Verdict.WRONG_SERVER, "; ".join(other)) if other else None
    if not entry.is_nfs:
        return Finding(Verdict.WRONG_SERVER, f"{entry.fstype} of {entry.source} is mounted there")
    if entry.source != mount.source:
        return Finding(Verdict.WRONG_SERVER, f"mounted from {entry.source}, not {mount.source}")
    address = next((o.removeprefix("addr=") for o in entry.super_options if o.startswith("addr=")), "")
    if address != watched.address:
        return Finding(Verdict.WRONG_SERVER, f"the kernel talks to {address}, not {watched.address}")
    return None


def _find_hang(seen: PathSight) -> Finding | None:
    if seen.unable:
        return Finding(Verdict.UNSEEN, f"the probe cannot run: {seen.unable}")
    if seen.hung_since is not None:
        return Finding(Verdict.HUNG, "no answer within the probe's limit")
    wrong = explain(seen)
    if wrong is not None and wrong.verdict is Verdict.HUNG:
        return wrong
    return None if wrong or seen.answered else Finding(Verdict.HUNG, "the probe did not come to the end")


def _find_foreign_ids(node: str, mount: Mount, sight: Sight, server: Sight | None) -> Finding | None:
    """The same numbers on both sides, and what is somebody's here is the same one's there."""
    if server is not None and server.ids != sight.ids:
        return Finding(Verdict.IDMAP_MISMATCH, f"here {sight.ids}; on the server {server.ids}")
    directory = directory_of(mount)
    here = sight.path(mount.point).value("root")
    there = (server.path(directory).value("root") if server else "") or str(sight.ids.uid)
    if here and here != there:
        return Finding(
            Verdict.IDMAP_MISMATCH, f"{mount.point} is of {here} here, and of {there} on the server"
        )
    for owner in server.owners if server else ():
        if (owner.path, owner.node) == (directory, node) and (owner.uid, owner.gid) != (
            sight.ids.uid,
            sight.ids.gid,
        ):
            written = (
                f"what {sight.ids.uid}:{sight.ids.gid} writes is of {owner.uid}:{owner.gid} on the server"
            )
            return Finding(Verdict.IDMAP_MISMATCH, written)
    return None


def _find_failure(mount: Mount, entry: MountEntry | None, seen: PathSight) -> Finding | None:
    wrong = explain(seen)
    if wrong is not None and wrong.verdict is not Verdict.READ_ONLY:
        return wrong
    if mount.writable and entry is not None and "rw" not in entry.options & entry.super_options:
        return Finding(Verdict.READ_ONLY, "it is mounted read-only")
    return wrong


def _find_ghost(mount: Mount, seen: PathSight, server: Sight | None) -> Finding | None:
    """A directory that was removed and made again: nfsd holds on to the old one, and answers from it."""
    here = seen.value("root", 3)
    there = server.path(directory_of(mount)).value("root", 3) if server else ""
    if here and there and here != there:
        return Finding(Verdict.STALE, f"it shows a directory that was removed (inode {here}, now {there})")
    return None


def _find_other_token(
    watched: Watched, mount: Mount, seen: PathSight, server: Sight | None
) -> Finding | None:
    here = seen.value("token")
    read = here.removeprefix("token ").strip()
    if watched.token and here and read != watched.token:
        return Finding(Verdict.WRONG_SERVER, f"it reads `{read}`, and has to read `{watched.token}`")
    there = server.path(directory_of(mount)).value("token") if server else ""
    if here and there and here != there:
        return Finding(Verdict.WRONG_SERVER, f"it reads `{here}`, and the server has `{there}`")
    return None


def _find_pace(mount: Mount, sight: Sight, seen: PathSight) -> Finding:
    if seen.seconds > SLOW_SECONDS:
        return Finding(Verdict.SLOW, f"{seen.seconds:.1f} s for what takes some hundredths")
    # Not as asked, and not dangerous: a mount option.
    return Finding(Verdict.OK, "; ".join(differences(mount, sight.mounts)) or f"{seen.seconds:.3f} s")
