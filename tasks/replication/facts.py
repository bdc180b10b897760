"""What both servers of a share are for a copy, what the standby has, and in what they differ."""

from __future__ import annotations

import base64
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tasks.errors import CommandFailed, Unreachable
from tasks.fencing.record import Record, parse_record
from tasks.fleet import Machine, Share
from tasks.liveness.bound import await_banner, call_within
from tasks.nfs.exports import parse_table
from tasks.replication.doors import MODULES, known_hosts_file, receiver_files
from tasks.replication.safety import paths_of
from tasks.replication.values import Difference, Side, StandbyState, SyncProof, Tree, parse_proof
from tasks.result import Result
from tasks.scripts import read_script, run_text_as_root
from tasks.ssh import Ssh, connect

# A server that does not greet within this is as good as gone; one that does gets LOOK_SECONDS to answer.
GREETING_SECONDS = 5.0
LOOK_SECONDS = 20.0
LIST_SECONDS = 3600.0
# rsync(1), "exit values": nobody was there, or the line broke.
UNREACHABLE = frozenset({10, 12, 30, 35, 255})
NO_GREETING = 5
# What packmaster-receive says on its way out, with which the line breaks, too.
REFUSAL = "packmaster-receive: "
# Files that are removed while they are copied are nobody's loss.
VANISHED = 24
WRITE_FAILED = 11
_ESCAPED = re.compile(rb"\\#([0-7]{3})")
_DELETING = b"*deleting"
# What kind of change, to what kind of thing, in which of nine respects.
_ITEM = re.compile(rb"[<ch.][fdLS][^ ]{9} ")
_KINDS = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link"}


def parse_side(host: str, text: str) -> Side:
    """Turn the lines of look.sh, `word<TAB>value...`, into a Side; other words are ignored."""
    seen: defaultdict[str, list[list[str]]] = defaultdict(list)
    for line in text.splitlines():
        word, *values = line.split("\t")
        seen[word].append(values)
    tokens = {path: parse_proof(_decode(value)) for path, value in seen["token"]}
    return Side(
        host=host,
        record=parse_record(_decode(seen["record"][0][0])) if seen["record"] else Record(),
        disk=seen["disk"][0][0] if seen["disk"] else "",
        trees={values[0]: _parse_tree(values, tokens.get(values[0])) for values in seen["tree"]},
        table=parse_table(_decode(seen["table"][0][0])) if seen["table"] else (),
        has_rsync=bool(seen["rsync"]),
        public_key=seen["key"][0][0] if seen["key"] else "",
        doors=tuple(values[0] for values in seen["door"]),
        files={values[0]: values[1] for values in seen["file"]},
    )


def read_side(server: Machine, peer: Machine, share: Share) -> Side:
    """What `server` is for a copy to or from `peer`; Unreachable within seconds when it does not answer."""
    files = [file.path for file in (known_hosts_file(share, peer), *receiver_files(share))]
    args = (share.name, share.disk, share.code_path, share.data_path, server.admin_user, *files)
    admin = server.as_admin()
    await_banner(admin, GREETING_SECONDS)

    def look() -> str:
        return run_as_root(connect(admin), "look", *args, timeout=LOOK_SECONDS)

    return parse_side(server.name, call_within(LOOK_SECONDS + GREETING_SECONDS, server.name, look))


def read_standby(standby: Machine, share: Share) -> StandbyState:
    """What the standby has, by its own tokens; Unreachable within seconds when it does not answer."""
    return read_side(standby, standby, share).state(share)


def parse_differences(module: str, output: bytes) -> tuple[Difference, ...]:
    """The lines of `rsync --out-format='%i %n'` that stand for something the destination would lose.

    What only the source has, and what differs in nothing but its time, is no loss.
    """
    found = []
    for what, name in _itemized(output):
        kind = "directory" if name.endswith(b"/") else "file"
        if what == _DELETING:
            found.append(Difference(module, name.rstrip(b"/"), kind, vanishes=True))
        elif what[:1] in b"<ch" and what[1:2] in b"fLS" and what[2:3] != b"+":
            found.append(Difference(module, name, kind))
    return tuple(found)


def parse_unlike(module: str, output: bytes) -> tuple[Difference, ...]:
    """The lines of `rsync --out-format='%i %n'` that say in what the destination is not like the source:
    also what it lacks, and owners and modes. The time of a directory alone is each server's own.
    """
    found = []
    for what, name in _itemized(output):
        folder = name.endswith(b"/")
        if not folder or what == _DELETING or what[2:].strip(b".t"):
            kind = "directory" if folder else "file"
            found.append(Difference(module, name.rstrip(b"/"), kind, vanishes=what == _DELETING))
    return tuple(found)


def list_differences(source: Machine, destination: Machine, share: Share) -> tuple[Difference, ...]:
    """Everything on the destination that a copy from the source would take away or replace there.

    Nothing is changed. Raises Unreachable and CommandFailed.
    """
    found: list[Difference] = []
    for module, path in zip(MODULES, paths_of(share), strict=True):
        listed = send(source, destination, share, module, deletions=10**9, mode="list", seconds=LIST_SECONDS)
        found += _complete(connect(destination.as_admin()), path, parse_differences(module, listed.out))
    return tuple(found)


def list_unlike(source: Machine, destination: Machine, share: Share) -> tuple[Difference, ...]:
    """Everything in which the destination's trees are not like the source's; nothing, after a whole copy.

    Nothing is changed. Raises Unreachable and CommandFailed.
    """
    found: list[Difference] = []
    for module in MODULES:
        listed = send(source, destination, share, module, deletions=10**9, mode="list", seconds=LIST_SECONDS)
        found += parse_unlike(module, listed.out)
    return tuple(found)


def send(
    source: Machine,
    destination: Machine,
    share: Share,
    module: str,
    *,
    deletions: int,
    mode: str,
    seconds: float,
) -> Result:
    """Run rsync for one tree on the source; Unreachable when it did not get through to the destination."""
    path = dict(zip(MODULES, paths_of(share), strict=True))[module]
    address = f"[{destination.address}]" if ":" in destination.address else destination.address
    args = (share.name, module, path, share.disk, address, str(destination.port), destination.admin_user)
    ssh = connect(source.as_admin())
    result = ssh.run_script(
        read_script("tasks.replication", "send"),
        *(*args, str(deletions), mode),
        timeout=seconds,
        as_user=None if ssh.node.user == "root" else "root",
        check=False,
    )
    refused = [line for line in result.error_text.splitlines() if line.startswith(REFUSAL)]
    if refused:
        raise CommandFailed(result, refused[0])
    # Without an answer rsync says of its own that it cannot start; with one, the daemon says why.
    unanswered = result.status == NO_GREETING and "@ERROR" not in result.error_text
    if result.status in UNREACHABLE or unanswered:
        said = result.error_text.splitlines()
        raise Unreachable(
            destination.name,
            f"from {source.name}, which copies share {share.name} to it ({said[0] if said else 'no answer'})",
        )
    if not result.ok and result.status != VANISHED:
        meaning = f"share {share.name} could not be copied to {destination.name}"
        # The reason comes from there, over a connection that ends with it: sometimes it is too late.
        if result.status == WRITE_FAILED:
            meaning += ", where a write failed; is its disk full?"
        raise CommandFailed(result, meaning)
    return result


def run_as_root(ssh: Ssh[Any], script: str, *args: str, timeout: float, stdin: bytes | None = None) -> str:
    """Run one of this package's scripts as root, and return what it printed."""
    text = read_script("tasks.replication", script)
    return run_text_as_root(ssh, text, *args, timeout=timeout, stdin=stdin)


def join_names(names: Iterable[bytes]) -> bytes:
    """Names as scripts take them, each with its end; none can be taken for an option or a comment."""
    return b"".join(b"./%s\0" % name for name in names)


def _complete(ssh: Ssh[Any], path: str, found: Sequence[Difference]) -> list[Difference]:
    """The same with kind, size and time as they are on the destination; what is gone by now is left out."""
    if not found:
        return []
    listed = run_as_root(
        ssh, "stat_names", path, timeout=LIST_SECONDS, stdin=join_names(one.path for one in found)
    )
    seen: dict[bytes, list[bytes]] = {}
    for entry in listed.encode("utf-8", "surrogateescape").split(b"\0"):
        facts, _, name = entry.partition(b"\t")
        seen[name.removeprefix(b"./")] = facts.split()
    return [
        Difference(
            one.tree,
            one.path,
            _KINDS.get(stat.S_IFMT(int(seen[one.path][1], 16)), "other"),
            one.vanishes,
            int(seen[one.path][2]),
            float(seen[one.path][0]),
        )
        for one in found
        if one.path in seen
    ]


def _itemized(output: bytes) -> Iterator[tuple[bytes, bytes]]:
    """What rsync did or would do, and to which name; its other lines are left out."""
    for line in output.split(b"\n"):
        what = line[:11].rstrip()
        if what == _DELETING or _ITEM.match(line):
            yield what, _ESCAPED.sub(lambda code: bytes([int(code[1], 8)]), line[12:])


def _parse_tree(values: Sequence[str], token: SyncProof | None) -> Tree:
    _, kind, empty, block, blocks, free, inodes, free_inodes = values
    return Tree(
        kind=kind,
        empty=empty == "yes",
        total_bytes=int(block) * int(blocks),
        free_bytes=int(block) * int(free),
        total_inodes=int(inodes),
        free_inodes=int(free_inodes),
        token=token,
    )


def _decode(text: str) -> str:
    return base64.b64decode(text).decode("utf-8", "surrogateescape")
