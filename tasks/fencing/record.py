"""What a server knows about its own part in a share: an epoch, a role, and whom to ask. Pure.

The record lies on the machine's own disk, beside neither exported tree and readable by root only: it lives
and dies with the list of exports, which is on the same disk. Whoever holds the highest epoch is the share's
server; an epoch is written before anything is done under it, and never goes back once something was exported.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

RECORDS = "/var/lib/packmaster/shares"


class Role(StrEnum):
    """`primary` exports. `standby` has a copy and may take over. `taking-over` is one that is about to, and
    exports nothing yet. `fenced` exports nothing until it has been made a standby again. `none` is a machine
    that has no record.
    """

    PRIMARY = "primary"
    STANDBY = "standby"
    TAKING_OVER = "taking-over"
    FENCED = "fenced"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Record:
    """One server's record of one share. `peer` is the address of the only machine that could have taken over
    without this one knowing; empty where there is none, so that nobody has to be asked.
    """

    epoch: int = 0
    role: Role = Role.NONE
    peer: str = ""

    def __str__(self) -> str:
        return f"{self.role} of epoch {self.epoch}" if self.role is not Role.NONE else "without a record"


def parse_record(text: str) -> Record:
    """The record's file, a `word value` a line; one that is damaged is none, and exports nothing."""
    words = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    try:
        return Record(int(words["epoch"]), Role(words["role"]), words.get("peer", "").strip())
    except (KeyError, ValueError):
        return Record()
