"""What the servers of a cluster say of the share that they keep available. They are only asked."""

from __future__ import annotations

import base64
from collections import defaultdict
from xml.etree import ElementTree as ET

from tasks.external.values import DrbdState, MemberSight, PacemakerState
from tasks.fleet import Machine
from tasks.liveness.bound import await_banner, call_within
from tasks.nfs.exports import parse_table
from tasks.scripts import read_script, run_text_as_root
from tasks.ssh import connect

GREETING_SECONDS = 2.0
# Each question of look.sh has its own limit of 2 s.
LOOK_SECONDS = 10.0
_WELL = {
    "disk": "UpToDate",
    "peer-disk": "UpToDate",
    "connection": "Connected",
    "replication": "Established",
    "suspended": "no",
}


def parse_sight(host: str, text: str) -> MemberSight:
    """Turn the lines of look.sh, `word<TAB>value`, into a MemberSight; other words are ignored."""
    seen: defaultdict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        word, _, value = line.partition("\t")
        seen[word].append(value)

    def decode(word: str) -> str:
        return base64.b64decode(seen[word][0]).decode("utf-8", "replace") if seen[word] else ""

    return MemberSight(
        host=host,
        addresses=tuple(seen["address"]),
        threads=int(seen["threads"][0]) if seen["threads"] else 0,
        table=parse_table(decode("table")),
        scope=seen["scope"][0] if seen["scope"] else "",
        drbd=parse_drbd(decode("drbd")) if seen["drbd"] else None,
        pacemaker=parse_pacemaker(decode("cluster")) if seen["cluster"] else None,
    )


def parse_drbd(text: str) -> tuple[DrbdState, ...]:
    """The resources of `drbdadm status` (drbd-utils 9, for DRBD 8.4 and 9).

    A resource begins at the left margin; below it are its disks, and its peers with theirs. What is well is
    left out there: a connection is named only while there is none.
    """
    found: list[DrbdState] = []
    for line in text.splitlines():
        words = line.split()
        if not words or line.startswith("#"):
            continue
        pairs = dict(word.split(":", 1) for word in words if ":" in word)
        if not line[0].isspace():
            found.append(DrbdState(words[0], pairs.get("role", "")))
        if not found:
            continue
        last = found[-1]
        whose = words[0] if ":" not in words[0] else ""
        # A machine without a disk of its own on purpose is nobody's trouble.
        wrong = [
            f"{whose} {key}:{value}".strip()
            for key, value in pairs.items()
            if key in _WELL and value != _WELL[key] and pairs.get("client") != "yes"
        ]
        peer = line[0].isspace() and "role" in pairs
        peers = (*last.peers, pairs["role"]) if peer else last.peers
        found[-1] = DrbdState(last.name, last.role, peers, (*last.troubles, *wrong))
    return tuple(found)


def parse_pacemaker(text: str) -> PacemakerState:
    """What `pcs status xml`, which is crm_mon's, says; one that does not answer says nothing."""
    try:
        # Of a server that we log in to as root, within a bound.
        root = ET.fromstring(text)  # noqa: S314
    except ET.ParseError:
        return PacemakerState(answered=False)
    options, dc = root.find("summary/cluster_options"), root.find("summary/current_dc")
    if options is None:
        return PacemakerState(answered=False)
    return PacemakerState(
        stonith=options.get("stonith-enabled") == "true",
        maintenance=options.get("maintenance-mode") == "true",
        quorum=dc is not None and dc.get("with_quorum") == "true",
        nodes=tuple((node.get("name", "?"), _condition(node)) for node in root.findall("nodes/node")),
        failures=tuple(
            f"{one.get('op_key') or one.get('id') or '?'} on {one.get('node')}: {one.get('exitstatus')}"
            for one in root.findall("failures/failure")
        ),
    )


def look_at_member(machine: Machine) -> MemberSight:
    """What one server of the cluster says; Unreachable, AccessDenied, CommandFailed, within seconds."""
    admin = machine.as_admin()
    await_banner(admin, GREETING_SECONDS)
    text = read_script("tasks.external", "look")

    def look() -> str:
        return run_text_as_root(connect(admin), text, timeout=LOOK_SECONDS)

    return parse_sight(machine.name, call_within(LOOK_SECONDS + GREETING_SECONDS, machine.name, look))


def _condition(node: ET.Element) -> str:
    if node.get("unclean") == "true":
        return "unclean"
    if node.get("online") != "true":
        return "offline"
    states = ("standby", "maintenance", "pending")
    return next((word for word in states if node.get(word) == "true"), "online")
