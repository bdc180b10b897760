"""What the machines see of a share: one bounded probe on each, and the controller's own question."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Sequence
from importlib import resources
from typing import cast

from tasks.errors import CommandFailed, PlanRefused
from tasks.fleet import PLATFORM_USER, WEB_GROUP, Machine
from tasks.liveness.bound import await_banner, call_within
from tasks.liveness.rpc import ask_null
from tasks.liveness.values import Ids, Member, NullAnswer, NullResult, Owner, PathSight, Sight, Step, Watched
from tasks.nfs.exports import parse_table
from tasks.nfs.mounted import parse_mountinfo
from tasks.ssh import connect

PROBE_SECONDS = 2.0
# What a slow machine may take around the probe's own limit: to log in, to start perl, to clear away.
AROUND_SECONDS = 8.0
RESOLVE_SECONDS = 2.0


def parse_sight(text: str) -> Sight:
    """Turn the lines of probe.pl, `word<TAB>value...`, into a Sight; words it does not know are ignored."""
    seen: defaultdict[str, list[list[str]]] = defaultdict(list)
    for line in text.splitlines():
        word, *values = line.split("\t")
        seen[word].append(values)
    ids = [int(number) if number.isdigit() else None for number in (seen["ids"] or [["", "", ""]])[0]]
    null = seen["null"][0] if seen["null"] else ["silent", "0", "the probe did not come to it"]
    return Sight(
        ids=Ids(*ids),
        null=NullAnswer(cast("NullResult", null[0]), float(null[1]), null[2]),
        paths=_parse_paths(seen),
        mounts=parse_mountinfo("\n".join(values[0] for values in seen["mountinfo"])),
        left=tuple(pid for values in seen["left"] for pid in values[0].split()),
        threads=int(seen["threads"][0][0]) if seen["threads"] else 0,
        grace=bool(seen["grace"]),
        exports=parse_table("\n".join("\t".join(values) for values in seen["export"])),
        drained=tuple(name for values in seen["drained"] for name in values[0].split()),
        owners=tuple(Owner(path, node, int(uid), int(gid)) for path, node, uid, gid in seen["seen"]),
    )


def _parse_paths(seen: dict[str, list[list[str]]]) -> dict[str, PathSight]:
    steps: defaultdict[str, dict[str, Step]] = defaultdict(dict)
    for path, name, result, seconds, *values in seen["step"]:
        steps[path][name] = Step(result, float(seconds), tuple(values))
    hung = {path: float(since) for path, since in seen["hung"]}
    unable = {values[0]: " ".join(values[1:]) for values in seen["unable"]}
    paths = dict.fromkeys([*steps, *hung, *unable])
    return {path: PathSight(steps[path], hung.get(path), unable.get(path, "")) for path in paths}


def look_from_node(
    machine: Machine, watched: Watched, member: Member, seconds: float = PROBE_SECONDS
) -> Sight:
    """What a node sees of its mounts, as the platform user; Unreachable, AccessDenied, CommandFailed."""
    asked: list[str] = []
    for mount in member.mounts:
        asked += [
            mount.point,
            "rw" if mount.writable else "ro",
            mount.source if mount.kind == "bind" else "-",
        ]
    return _probe(machine, "node", watched.address, asked, seconds)


def look_from_server(machine: Machine, watched: Watched, seconds: float = PROBE_SECONDS) -> Sight:
    """What the server sees of the directories that it exports; Unreachable, AccessDenied, CommandFailed."""
    asked: list[str] = []
    for directory in watched.directories:
        asked += [directory, "rw", watched.disk or "-"]
    # Only root is shown how many threads the kernel has for NFS.
    return _probe(machine.as_admin(), "server", "127.0.0.1", asked, seconds)


def ask_server(address: str, seconds: float = PROBE_SECONDS) -> NullAnswer:
    """What the controller hears within `seconds` from the address that clients mount from."""
    return ask_null(address, seconds)


def resolve_address(name: str) -> str:
    """The IP address that an address or host name stands for; PlanRefused or Unreachable."""

    def resolve() -> str:
        return str(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0])

    try:
        return call_within(RESOLVE_SECONDS, name, resolve)
    except OSError as unknown:
        raise PlanRefused(
            f"the address {name} cannot be resolved: {unknown}", "Give the share an IP address"
        ) from None


def _probe(machine: Machine, role: str, address: str, asked: Sequence[str], seconds: float) -> Sight:
    script = (resources.files(__package__) / "scripts" / "probe.pl").read_bytes()
    argv = ["perl", "-", role, machine.name, PLATFORM_USER, WEB_GROUP, address, str(seconds), *asked]
    sudo = "root" if role == "server" and machine.user != "root" else None
    await_banner(machine, seconds)

    def run() -> str:
        result = connect(machine).run(
            argv, stdin=script, timeout=seconds + AROUND_SECONDS, as_user=sudo, check=False
        )
        if not result.ok:
            raise CommandFailed(result, "the probe does not run")
        return result.text

    return parse_sight(call_within(seconds + AROUND_SECONDS, machine.name, run))
