"""What a share's server is and does, as itself says it; within a bound, for it may hang."""

from __future__ import annotations

import base64
from collections import defaultdict
from typing import Any

from tasks.fencing.gate import GATE_FILES
from tasks.fencing.record import Record, parse_record
from tasks.fencing.values import ServerLook
from tasks.fleet import Machine, Share
from tasks.liveness.bound import await_banner, call_within
from tasks.nfs.exports import parse_table
from tasks.scripts import read_script, run_text_as_root
from tasks.ssh import Ssh, connect

# A server that does not greet within this is as good as gone; one that does gets LOOK_SECONDS to answer.
GREETING_SECONDS = 4.0
LOOK_SECONDS = 15.0


def parse_look(host: str, text: str) -> ServerLook:
    """Turn the lines of look.sh, `word<TAB>value...`, into a ServerLook; other words are ignored."""
    seen: defaultdict[str, list[list[str]]] = defaultdict(list)
    for line in text.splitlines():
        word, *values = line.split("\t")
        seen[word].append(values)

    def decode(word: str) -> str:
        return base64.b64decode(seen[word][0][0]).decode("utf-8", "surrogateescape") if seen[word] else ""

    def first(word: str, default: str = "") -> str:
        return seen[word][0][0] if seen[word] else default

    return ServerLook(
        host=host,
        record=parse_record(decode("record")) if seen["record"] else Record(),
        threads=int(first("threads", "0")),
        table=parse_table(decode("table")),
        kernel=parse_table(decode("kernel")),
        listed=bool(seen["listed"]),
        disk=first("disk"),
        token=first("token"),
        files={values[0]: values[1] for values in seen["file"]},
        answers=bool(seen["answers"]),
    )


def read_server(server: Machine, share: Share) -> ServerLook:
    """What `server` says of itself and the share; Unreachable within seconds when it does not answer."""
    args = (share.name, share.disk, share.code_path, *(file.path for file in GATE_FILES))
    return parse_look(server.name, run_bounded(server, "look", *args, seconds=LOOK_SECONDS))


def run_bounded(server: Machine, script: str, *args: str, seconds: float) -> str:
    """Run one of this package's scripts as root, and return what it printed; Unreachable after `seconds`."""
    admin = server.as_admin()
    await_banner(admin, GREETING_SECONDS)

    def run() -> str:
        return run_script(connect(admin), script, *args, timeout=seconds)

    return call_within(seconds + GREETING_SECONDS, server.name, run)


def run_script(ssh: Ssh[Any], script: str, *args: str, timeout: float) -> str:
    """Run one of this package's scripts as root, and return what it printed."""
    return run_text_as_root(ssh, read_script("tasks.fencing", script), *args, timeout=timeout)
