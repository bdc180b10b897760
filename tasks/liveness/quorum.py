"""Who is to be believed about the server: one observer's trouble is that observer's. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tasks.liveness.values import Sample, Sight, Verdict, Watched
from tasks.liveness.verdicts import SLOW_SECONDS, Finding, explain, find_mount
from tasks.nfs.exports import find_differing, find_extra
from tasks.nfs.mounted import mount_below

SERVER, CONTROLLER, PATH = "server", "controller", "path to the server"
# Below this part of a disk's blocks or inodes it is said how little is left.
LOW = 0.05
WARNING = "WARNING: "
_WORKS = frozenset({Verdict.OK, Verdict.SLOW})

Key = tuple[str, str]


def find_all(watched: Watched, sample: Sample) -> dict[Key, Finding]:
    """A finding for every mount of every member, by (node, mount point), and for (server, "server") and
    ("controller", "path to the server").
    """
    found: dict[Key, Finding] = {
        (watched.server, SERVER): find_server(watched, sample),
        (CONTROLLER, PATH): find_path(watched, sample),
    }
    for member in watched.members:
        sight = sample.nodes.get(member.name)
        for mount in member.mounts:
            found[member.name, mount.point] = (
                Finding(Verdict.UNSEEN, sample.unseen.get(member.name, "it was not asked"))
                if sight is None
                else find_mount(watched, member.name, mount, sight, sample.server)
            )
    return found


def mark_left_behind(
    watched: Watched, sample: Sample, found: Mapping[Key, Finding], known: Collection[Key] | None = None
) -> dict[Key, Finding]:
    """The same findings, and those of what a run does on its way, and must not leave behind.

    DRAINED is what works on a node whose php-fpm was left stopped; DENIED is a server that exports the share
    to others, too. While a run is at work, only of `known` ones is that said.
    """
    marked = dict(found)
    server = (watched.server, SERVER)
    extra = find_extra(watched.directories, watched.exports, sample.server.exports) if sample.server else ()
    if extra and found[server].verdict in _WORKS and (known is None or server in known):
        named = ", ".join(f"{export.path} to {export.client}" for export in extra[:4])
        why = f"{len(extra)} export(s) that nobody asked for: {named}; see exportfs(8), -u"
        marked[server] = Finding(Verdict.DENIED, why)
    for member in watched.members:
        stopped = sample.nodes[member.name].drained if member.name in sample.nodes else ()
        for key in ((member.name, mount.point) for mount in member.mounts):
            if stopped and found[key].verdict in _WORKS and (known is None or key in known):
                why = f"{' '.join(stopped)} was left stopped there, and the mount works: run repair-share"
                marked[key] = Finding(Verdict.DRAINED, why)
    return marked


def can_reach(sight: Sight) -> bool:
    """Whether a node is a witness that the server serves: by a NULL call, or by what a mount asked for."""
    return sight.null.ok or any(path.answered for path in sight.paths.values())


def is_down(watched: Watched, sample: Sample) -> bool:
    """A server is down only when the controller and a majority of the clients that could be asked say so."""
    # What the server mounts of itself says nothing about NFS.
    clients = [
        sample.nodes[member.name]
        for member in watched.members
        if member.name in sample.nodes and any(mount.kind == "nfs" for mount in member.mounts)
    ]
    cut_off = [sight for sight in clients if not can_reach(sight)]
    return not sample.controller.ok and 2 * len(cut_off) > len(clients)


def is_agreed(watched: Watched, sample: Sample) -> bool:
    """Whether a majority of all clients says that the server is down, and not only of those that could be
    asked: whoever cannot reach most of them is cut off, too, and knows little.
    """
    clients = [m.name for m in watched.members if any(mount.kind == "nfs" for mount in m.mounts)]
    cut_off = [name for name in clients if name in sample.nodes and not can_reach(sample.nodes[name])]
    return is_down(watched, sample) and 2 * len(cut_off) > len(clients)


def find_server(watched: Watched, sample: Sample) -> Finding:
    """The verdict on the server: whether it serves, and whether what it serves is what it should."""
    sight = sample.server
    if is_down(watched, sample):
        why = "no nfsd runs there" if sight and not sight.threads else str(sample.controller)
        return Finding(Verdict.HUNG, f"neither the controller nor a majority of the clients reach it: {why}")
    if not sample.controller.ok and not any(can_reach(seen) for seen in sample.nodes.values()):
        return Finding(Verdict.UNSEEN, f"only the controller says something about it: {sample.controller}")
    if sight is not None:
        wrong = _find_inside(watched, sight)
        if wrong is not None:
            return wrong
    cut_off = sorted(name for name, seen in sample.nodes.items() if not can_reach(seen))
    asides = [f"{', '.join(cut_off)} cannot reach it"] if cut_off else []
    if sight is None:
        unseen = sample.unseen.get(watched.server, "it is asked over NFS only")
        asides.append(f"not looked into: {unseen}")
    else:
        asides += _describe_space(watched, sight)
        asides += [] if watched.disk else ["not looked whether a disk is mounted there: the share names none"]
    if sample.controller.ok and sample.controller.seconds > SLOW_SECONDS:
        return Finding(Verdict.SLOW, "; ".join([f"it {sample.controller}", *asides]))
    return Finding(Verdict.OK, "; ".join(asides) or str(sample.controller))


def find_path(watched: Watched, sample: Sample) -> Finding:
    """The verdict on the controller's own way to the server."""
    if sample.controller.ok:
        return Finding(Verdict.OK, f"it {sample.controller}")
    down = is_down(watched, sample)
    whose = "as for the clients" if down else "my path: clients can reach it"
    return Finding(Verdict.HUNG, f"{sample.controller}; {whose}")


def _find_inside(watched: Watched, sight: Sight) -> Finding | None:
    """What is wrong on the server itself, while it answers."""
    for directory in watched.directories:
        disk = mount_below(sight.mounts, directory)
        if watched.disk and (disk is None or disk.point != watched.disk):
            return Finding(
                Verdict.NOT_MOUNTED, f"the disk {watched.disk} is not mounted: {directory} is not on it"
            )
    if not sight.threads:
        return Finding(Verdict.HUNG, "no nfsd runs there")
    for directory in watched.directories:
        path = sight.path(directory)
        if path.hung_since is not None:
            return Finding(Verdict.HUNG, f"its own disk does not answer at {directory}")
        wrong = explain(path)
        if wrong is not None:
            gone = wrong.verdict is Verdict.STALE
            return Finding(
                Verdict.NOT_MOUNTED if gone else wrong.verdict,
                f"{directory} is not there" if gone else f"{directory}: {wrong.detail}",
            )
    differing = find_differing(watched.exports, sight.exports)
    if differing:
        named = ", ".join(f"{export.path} to {export.client}" for export in differing[:4])
        return Finding(Verdict.DENIED, f"{len(differing)} export(s) are not as asked: {named}")
    return None


def _describe_space(watched: Watched, sight: Sight) -> list[str]:
    """How full the disk is, by blocks and by inodes, and whether that is a warning."""
    for directory in watched.directories:
        step = sight.path(directory).steps.get("space")
        if step is None or not step.ok or len(step.values) < 5:
            continue
        size, blocks, free, inodes, free_inodes = (int(value) for value in step.values[:5])
        left = free / blocks if blocks else 1.0
        left_inodes = free_inodes / inodes if inodes else 1.0
        warning = WARNING if min(left, left_inodes) < LOW else ""
        return [
            f"{warning}{left:.0%} of {blocks * size / 2**20:.0f} MB and {left_inodes:.0%} of inodes free",
            f"{sight.threads} nfsd threads",
        ]
    return []
