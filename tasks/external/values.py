"""What a server says of itself that keeps a share of mode external available. Pure values."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.nfs.exports import Export


@dataclass(frozen=True, slots=True)
class DrbdState:
    """What `drbdadm status` shows of one resource: our role, the roles of others, and what is not as it
    should be.
    """

    name: str
    role: str = ""
    peers: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()

    @property
    def primaries(self) -> int:
        """How many may write to it: two of an ordinary file system destroy it."""
        return (self.role, *self.peers).count("Primary")


@dataclass(frozen=True, slots=True)
class PacemakerState:
    """What Pacemaker shows: whether it could put a server out of action, and what is not as it should be.

    `answered` is false where it is installed and says nothing that can be read.
    """

    answered: bool = True
    stonith: bool = True
    maintenance: bool = False
    quorum: bool = True
    nodes: tuple[tuple[str, str], ...] = ()
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MemberSight:
    """One server of the cluster. `drbd` and `pacemaker` are None where that is not installed."""

    host: str
    addresses: tuple[str, ...] = ()
    threads: int = 0
    table: tuple[Export, ...] = ()
    scope: str = ""
    drbd: tuple[DrbdState, ...] | None = None
    pacemaker: PacemakerState | None = None

    def fsid(self, path: str) -> str | None:
        """The fsid that a directory is exported with here; None where it is not exported."""
        options = [export.options for export in self.table if export.path == path]
        if not options:
            return None
        found = [option.removeprefix("fsid=") for option in options[0] if option.startswith("fsid=")]
        return found[0] if found else ""
