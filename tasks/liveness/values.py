"""What can be true of a share, and what was seen of it. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from tasks.nfs.exports import Export
from tasks.nfs.mounted import MountEntry
from tasks.nfs.mounts import Mount


class Verdict(StrEnum):
    """What is so of a mount or a server.

    FAILING_OVER is a hang of a share of mode external within its budget; DEGRADED is a cluster of such a
    share that could not fail over, or has, and was not repaired since; DRAINED is a mount that works, of a
    node whose php-fpm a run stopped and nobody started; UNSEEN is a machine that could not be asked, of whose
    mounts nothing is known.
    """

    OK = "OK"
    SLOW = "SLOW"
    HUNG = "HUNG"
    STALE = "STALE"
    WRONG_SERVER = "WRONG_SERVER"
    READ_ONLY = "READ_ONLY"
    NOT_MOUNTED = "NOT_MOUNTED"
    DENIED = "DENIED"
    IDMAP_MISMATCH = "IDMAP_MISMATCH"
    FAILING_OVER = "FAILING_OVER"
    DEGRADED = "DEGRADED"
    DRAINED = "DRAINED"
    UNSEEN = "UNSEEN"

    @property
    def healthy(self) -> bool:
        """Nobody has to be told, and nothing has to be done."""
        return self in {Verdict.OK, Verdict.FAILING_OVER}


NullResult = Literal["ok", "refused", "silent", "odd"]


@dataclass(frozen=True, slots=True)
class NullAnswer:
    """What became of one NFS NULL call: `refused` is an answer, too, but not of an NFS server."""

    result: NullResult
    seconds: float = 0.0
    detail: str = ""

    @property
    def ok(self) -> bool:
        return self.result == "ok"

    def __str__(self) -> str:
        return f"answers in {self.seconds:.3f} s" if self.ok else f"{self.result} ({self.detail})"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a child tried on a path: `result` is ok or the name of an errno."""

    result: str
    seconds: float = 0.0
    values: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.result == "ok"


@dataclass(frozen=True, slots=True)
class PathSight:
    """What was seen at one path. `hung_since` is when a child that did not come back began (Unix time);
    `unable` is why none could be sent.
    """

    steps: Mapping[str, Step] = field(default_factory=dict)
    hung_since: float | None = None
    unable: str = ""

    @property
    def failed(self) -> tuple[str, Step] | None:
        """The first thing that did not work."""
        return next(((name, step) for name, step in self.steps.items() if not step.ok), None)

    @property
    def answered(self) -> bool:
        """The server was asked for something that no cache has, and answered."""
        return "lookup" in self.steps and self.steps["lookup"].ok

    @property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.steps.values())

    def value(self, step: str, index: int = 0) -> str:
        """What a step gave, or nothing."""
        values = self.steps[step].values if step in self.steps else ()
        return values[index] if index < len(values) else ""


@dataclass(frozen=True, slots=True)
class Ids:
    """The numbers of the platform user, its group, and the web server's group; None for one there is not."""

    uid: int | None = None
    gid: int | None = None
    web: int | None = None

    def __str__(self) -> str:
        shown = ["-" if number is None else str(number) for number in (self.uid, self.gid, self.web)]
        return f"aegir {shown[0]}:{shown[1]}, www-data {shown[2]}"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose the file is, on the server's own disk, that a node wrote through its mount."""

    path: str
    node: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Sight:
    """What one probe on one machine said. `left` are processes that could not be killed; `drained` are the
    services that repair-share stopped and has not started again. In its `grace` period a server lets nobody
    open a file, for its clients are to claim first what they had before it started.
    """

    ids: Ids = field(default_factory=Ids)
    null: NullAnswer = NullAnswer("silent", detail="not asked")
    paths: Mapping[str, PathSight] = field(default_factory=dict)
    mounts: tuple[MountEntry, ...] = ()
    left: tuple[str, ...] = ()
    threads: int = 0
    grace: bool = False
    exports: tuple[Export, ...] = ()
    owners: tuple[Owner, ...] = ()
    drained: tuple[str, ...] = ()

    def path(self, path: str) -> PathSight:
        return self.paths.get(path, PathSight())


@dataclass(frozen=True, slots=True)
class Member:
    """A node and what it is to mount."""

    name: str
    mounts: tuple[Mount, ...]


@dataclass(frozen=True, slots=True)
class Watched:
    """A share as it is to be: its members, what its server exports, and where it lies there. `token` is what
    its trees have to say of server and epoch; empty where that is not asked.
    """

    share: str
    server: str
    address: str
    members: tuple[Member, ...]
    exports: tuple[Export, ...] = ()
    directories: tuple[str, ...] = ()
    disk: str = ""
    external: bool = False
    failover_seconds: int = 120
    token: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """What all observers saw at about the same time: None, or a missing node, is one that could not be asked.

    `unseen` says why, by machine.
    """

    controller: NullAnswer
    nodes: Mapping[str, Sight] = field(default_factory=dict)
    server: Sight | None = None
    unseen: Mapping[str, str] = field(default_factory=dict)
