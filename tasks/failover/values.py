"""What a failover is decided on: what was seen, what the controller holds to be so, what was asked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.fencing.record import Record, Role
from tasks.fencing.values import ServerLook
from tasks.fleet import Machine, Share


@dataclass(frozen=True, slots=True)
class Ledger:
    """The controller's own record of a share: who serves it under which epoch, or, while `moving`, who is
    about to. Epoch 0 is a share that has none yet.
    """

    epoch: int = 0
    server: str = ""
    moving: bool = False

    def __str__(self) -> str:
        return f"epoch {self.epoch} on {self.server}{', not finished' if self.moving else ''}"


@dataclass(frozen=True, slots=True)
class Request:
    """What a person, or the policy, asked of this run.

    `accept_loss_seconds` may be more than the share's recovery point. `fenced_by_hand` is the name of a
    server that somebody has put out of action. `although_it_answers` is for a server that is broken in a way
    that nobody's NFS call shows. `automatic` asks for no approval. `withdraw` is for one that an earlier run
    was about to replace, and that is back.
    """

    accept_loss_seconds: int | None = None
    fenced_by_hand: str = ""
    although_it_answers: bool = False
    automatic: bool = False
    withdraw: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """What was seen. `looks` has the servers that could be looked into, `unseen` why others could not.

    `down` says that neither the controller nor a majority of the nodes that could be asked reach the server,
    `agreed` that it is a majority of all nodes; `witnesses` is that in words. `lag` is how old the standby's
    copy is in seconds (None: it never got a whole one under this epoch). `misplaced` says of each node that
    does not use the server of the ledger what it does instead; those that are `detached` write nothing there.
    `unready` says of each server that could not export the share, if it had to, why.
    """

    share: Share
    ledger: Ledger
    looks: Mapping[str, ServerLook] = field(default_factory=dict)
    unseen: Mapping[str, str] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()
    misplaced: Mapping[str, str] = field(default_factory=dict)
    detached: tuple[str, ...] = ()
    down: bool = False
    agreed: bool = False
    witnesses: str = ""
    lag: float | None = None
    unready: Mapping[str, str] = field(default_factory=dict)

    @property
    def servers(self) -> tuple[Machine, ...]:
        share = self.share
        return (share.server, *([share.standby] if share.standby else []))

    def promoted(self, name: str, epoch: int) -> bool:
        """Whether a server was told to serve under this epoch; from then on it may be used."""
        return (self.record(name).role, self.record(name).epoch) == (Role.PRIMARY, epoch)

    def record(self, name: str) -> Record:
        """What a server has on record; an empty one for a server that could not be looked into."""
        return self.looks[name].record if name in self.looks else Record()
