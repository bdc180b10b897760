"""What was seen of a server that is, was or could be a share's own, and whether it is out of action. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.fencing.gate import GATE_FILES
from tasks.fencing.record import Record, Role
from tasks.fleet import Share
from tasks.nfs.exports import Export


@dataclass(frozen=True, slots=True)
class ServerLook:
    """What a server says of itself. `table` is what mountd answers from, `kernel` what it was asked for;
    `listed` says whether the share is in /etc/exports.d; `disk` is ro, rw or empty; `files` are digests.
    """

    host: str
    record: Record = field(default_factory=Record)
    threads: int = 0
    table: tuple[Export, ...] = ()
    kernel: tuple[Export, ...] = ()
    listed: bool = False
    disk: str = ""
    token: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    answers: bool = False

    def exports(self, share: Share) -> tuple[Export, ...]:
        """What of the share is in force here."""
        paths = (share.code_path, share.data_path)
        return tuple(one for one in (*self.table, *self.kernel) if one.path in paths)

    @property
    def guarded(self) -> bool:
        """Whether the gate is there, of whatever version, and answers who asks."""
        return self.answers and all(file.path in self.files for file in GATE_FILES)

    def serves(self, share: Share) -> bool:
        """Whether clients could use the share here."""
        return self.threads > 0 and bool(self.exports(share))


def find_doubts(look: ServerLook, share: Share) -> tuple[str, ...]:
    """Why it is not certain that the server is out of action, now and after a boot; empty when it is."""
    doubts = []
    if look.record.role is not Role.FENCED:
        doubts.append(f"its record says {look.record}")
    if look.listed:
        doubts.append("the share is still in /etc/exports.d")
    in_force = {export.path for export in look.exports(share)}
    if in_force:
        doubts.append(f"{' and '.join(sorted(in_force))} still exported")
    others = [export for export in look.table if export.path not in (share.code_path, share.data_path)]
    if look.threads and not others:
        doubts.append(f"{look.threads} nfsd threads run")
    return tuple(doubts)
