"""What a standby is known to have, and what a server is for a copy of its share. Pure values.

A token is what proves a copy. It is written on the server in each tree before anything is copied, travels
with the data under another name, and becomes the standby's own only after all has arrived and is on its disk.
So what a standby's token says is true however a copy was cut short, and whatever the controller remembers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.fencing.record import Record
from tasks.fleet import Share
from tasks.nfs.exports import Export

# Everything of this name at the top of a tree is a server's own, and is never copied but for what arrives.
OWN_NAMES = ".packmaster-*"
TOKEN = ".packmaster-sequence"  # noqa: S105 - no secret
ARRIVING = ".packmaster-sequence.next"


@dataclass(frozen=True, slots=True)
class SyncProof:
    """A copy: its number, when it was started and found whole (seconds since 1970, by the controller's
    clock), and under which epoch `server` was its source. Number 0 says that a tree is ours and has nothing.
    """

    sequence: int
    started: float
    finished: float
    epoch: int
    server: str = ""

    @property
    def order(self) -> tuple[int, int]:
        """Later copies come after earlier ones; under a new epoch all do."""
        return self.epoch, self.sequence

    def as_text(self) -> str:
        """The text of the token's file."""
        return json.dumps(
            {
                "sequence": self.sequence,
                "started": self.started,
                "finished": self.finished,
                "epoch": self.epoch,
                "server": self.server,
            }
        )


def parse_proof(text: str) -> SyncProof | None:
    """The token that a file holds; None when it holds none, for what is damaged proves nothing."""
    try:
        found = json.loads(text)
        return SyncProof(
            int(found["sequence"]),
            float(found["started"]),
            float(found["finished"]),
            int(found["epoch"]),
            str(found["server"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def loss_bound(proof: SyncProof | None, now: float) -> float | None:
    """How many seconds of what was written may be missing from a copy; None when nothing is proven.

    What was written before a copy was started is in it; of what came later nobody knows.
    """
    return None if proof is None or not proof.sequence else max(0.0, now - proof.started)


@dataclass(frozen=True, slots=True)
class StandbyState:
    """What the standby has: `proof` is the older one of its two trees', None when one of them has none."""

    server: str
    proof: SyncProof | None
    free_bytes: int
    free_inodes: int
    exports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tree:
    """One of the share's directories as it lies on a server, and the space of the disk it is on (bytes).

    `empty` is one with nothing in it but what is Packmaster's. A file system that makes inodes as it needs
    them has a total of 0.
    """

    kind: str = "absent"
    empty: bool = True
    total_bytes: int = 0
    free_bytes: int = 0
    total_inodes: int = 0
    free_inodes: int = 0
    token: SyncProof | None = None

    @property
    def used_bytes(self) -> int:
        return self.total_bytes - self.free_bytes

    @property
    def used_inodes(self) -> int:
        return self.total_inodes - self.free_inodes


@dataclass(frozen=True, slots=True)
class Side:
    """A server as one end of a copy. `disk` is ro, rw, or empty when it is not mounted.

    `public_key` is what it copies with, `doors` are the lines that let others copy to it, `files` digests of
    what belongs to either.
    """

    host: str
    record: Record = field(default_factory=Record)
    disk: str = ""
    trees: Mapping[str, Tree] = field(default_factory=dict)
    table: tuple[Export, ...] = ()
    has_rsync: bool = False
    public_key: str = ""
    doors: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    def tree(self, path: str) -> Tree:
        return self.trees.get(path, Tree())

    def proof(self, share: Share) -> SyncProof | None:
        """The older one of both trees' tokens; None when one is missing or has nothing."""
        tokens = [self.tree(path).token for path in (share.code_path, share.data_path)]
        found = [token for token in tokens if token is not None and token.sequence]
        return min(found, key=lambda token: token.order) if len(found) == len(tokens) else None

    def exports(self, share: Share) -> tuple[str, ...]:
        """What of the share is exported here, as `path to client (options)`."""
        paths = (share.code_path, share.data_path)
        return tuple(str(export) for export in self.table if export.path in paths)

    def state(self, share: Share) -> StandbyState:
        """What a failover asks about a standby."""
        trees = [self.tree(path) for path in (share.code_path, share.data_path)]
        return StandbyState(
            server=self.host,
            proof=self.proof(share),
            free_bytes=min(tree.free_bytes for tree in trees),
            free_inodes=min(tree.free_inodes for tree in trees),
            exports=self.exports(share),
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that a copy would take from its destination (`vanishes`), or replace there.

    `path` is relative to the tree of the module `tree`; `changed` is when its inode last changed, by its
    server's clock.
    """

    tree: str
    path: bytes
    kind: str
    vanishes: bool = False
    size: int = 0
    changed: float = 0.0

    @property
    def name(self) -> str:
        """The path as it can be shown."""
        return self.path.decode("utf-8", "backslashreplace").encode("unicode_escape").decode("ascii")
