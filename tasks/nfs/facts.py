"""What a machine of a pack is: one script over SSH, as its administrator, that waits for no hung mount."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tasks.fleet import Machine, Share, Target
from tasks.nfs.attach import CLIENT_PACKAGES
from tasks.nfs.exports import EXPORTS_D, parse_exports
from tasks.nfs.ids import DEFAULT_ID, WEB_ID
from tasks.nfs.mounted import parse_mountinfo
from tasks.nfs.mounts import desired_mounts
from tasks.nfs.state import (
    LEASES_FILE,
    MOUNTS_SCRIPT,
    MOUNTS_UNIT,
    MOUNTS_UNIT_FILE,
    NFS_UNIT,
    Beneath,
    MachineFacts,
    Numbers,
    UnitState,
)
from tasks.nfs.storage import SERVER_PACKAGES, export_paths
from tasks.scripts import read_script, run_text_as_root
from tasks.servers.state import PathKind, PathState
from tasks.ssh import Ssh, connect

FACTS_SECONDS = 45.0

Fields = list[list[str]]


@dataclass(frozen=True, slots=True)
class Questions:
    """What to look at on one machine: packages, paths, mount points and units, besides what all have."""

    packages: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    uid: int = DEFAULT_ID
    gid: int = DEFAULT_ID


def server_questions(share: Share, uid: int | None = None, gid: int | None = None) -> Questions:
    """What provisioning asks about the share's server and its standby."""
    paths = (EXPORTS_D, LEASES_FILE, *export_paths(share))
    return Questions(SERVER_PACKAGES, paths, (), (NFS_UNIT,), uid or DEFAULT_ID, gid or DEFAULT_ID)


def node_questions(target: Target, uid: int | None = None, gid: int | None = None) -> Questions:
    """What provisioning asks about a node of the target."""
    points = tuple(mount.point for mount in desired_mounts(target, target.nodes[0]))
    paths = (MOUNTS_SCRIPT, MOUNTS_UNIT_FILE)
    return Questions(CLIENT_PACKAGES, paths, points, (MOUNTS_UNIT,), uid or DEFAULT_ID, gid or DEFAULT_ID)


def parse_facts(host: str, text: str) -> MachineFacts:
    """Turn the lines of facts.sh, `key<TAB>value...`, into MachineFacts; other keys are ignored."""
    seen: defaultdict[str, Fields] = defaultdict(list)
    for line in text.splitlines():
        key, *values = line.split("\t")
        seen[key].append(values)
    system, families = seen["system"][0] if seen["system"] else ("", "")
    return MachineFacts(
        host=host,
        system=system,
        families=frozenset(families.split()),
        systemd=bool(seen["systemd"]),
        packages=frozenset(values[0] for values in seen["package"]),
        numbers=_parse_numbers(seen["user"], seen["group"]),
        holders={values[0]: values[1] for values in seen["holder"]},
        mounts=parse_mountinfo(_text(seen["mountinfo"])),
        fstab=_text(seen["fstab"]),
        paths={values[0]: _parse_path(values) for values in seen["path"]},
        beneath={values[0]: _parse_beneath(values) for values in seen["beneath"]},
        answers={values[0]: values[1] for values in seen["answer"]},
        units={name: UnitState(on == "yes", runs == "yes") for name, on, runs in seen["unit"]},
        files={values[0]: _decode(values[1]) for values in seen["exports"]},
        table=parse_exports(_text(seen["table"])),
        kernel=parse_exports(_text(seen["kernel"])),
        versions=frozenset(seen["versions"][0][0].split()) if seen["versions"] else frozenset(),
        stray_policy=bool(seen["stray_policy"]),
        leases=bool(seen["leases"]),
    )


def read_machine(machine: Machine, questions: Questions) -> MachineFacts:
    """Read everything that provisioning asks about one machine, changing nothing there.

    A mount that does not answer within 3 s is reported as hung. Raises Unreachable after 45 s in any case.
    """
    text = run_as_root(
        connect(machine.as_admin()),
        "facts",
        f"{questions.uid} {WEB_ID}",
        f"{questions.gid} {WEB_ID}",
        " ".join(questions.packages),
        " ".join(questions.paths),
        " ".join(questions.points),
        " ".join(questions.units),
        timeout=FACTS_SECONDS,
    )
    return parse_facts(machine.name, text)


def run_as_root(
    ssh: Ssh[Any], script: str, *args: str, timeout: float, stdin: bytes | None = None, user: str = "root"
) -> str:
    """Run one of this package's scripts as `user`, and return what it printed."""
    text = read_script("tasks.nfs", script)
    return run_text_as_root(ssh, text, *args, timeout=timeout, stdin=stdin, user=user)


def _text(rows: Fields) -> str:
    return _decode(rows[0][0]) if rows else ""


def _decode(text: str) -> str:
    return base64.b64decode(text).decode("utf-8", "surrogateescape")


def _parse_numbers(users: Fields, groups: Fields) -> Numbers:
    passwd = {entry[0].split(":")[0]: entry[0].split(":") for entry in users}
    group = {entry[0].split(":")[0]: int(entry[0].split(":")[2]) for entry in groups}
    return Numbers(
        user=_number(passwd, "aegir", 2),
        user_gid=_number(passwd, "aegir", 3),
        group=group.get("aegir"),
        web_user=_number(passwd, "www-data", 2),
        web_group=group.get("www-data"),
    )


def _number(passwd: Mapping[str, Sequence[str]], name: str, field: int) -> int | None:
    return int(passwd[name][field]) if name in passwd else None


def _parse_path(values: list[str]) -> PathState:
    _, kind, owner, group, mode, digest = values
    return PathState(cast("PathKind", kind), owner, group, int(mode, 8), digest)


def _parse_beneath(values: list[str]) -> Beneath:
    _, kind, state, names = values
    owner, group, mode = state.split(":")
    return Beneath(kind, owner, group, int(mode, 8), tuple(_decode(names).splitlines()))
