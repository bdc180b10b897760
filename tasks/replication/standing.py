"""How a standby stands: what it has, how old that is, and what is the matter. Pure.

The row of the table is the whole memory between two runs: it is what the operator sees, and is read back from
it. So others are told when something changes, and not each time that it is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from tasks.fleet import Share
from tasks.replication.values import SyncProof, loss_bound, parse_proof

_TIME = "%Y-%m-%d %H:%M:%SZ"
_FULL = ("No space left on device", "Disk quota exceeded", " is full: ")
_UNREACHABLE = " cannot be reached: "


class State(StrEnum):
    """`BEHIND` is one whose copy is older than the share's recovery point, for whatever reason; the others
    say what kept the last copy from being made.
    """

    OK = "OK"
    BEHIND = "BEHIND"
    FULL = "FULL"
    UNREACHABLE = "UNREACHABLE"
    REFUSED = "REFUSED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is so of a share's standby at `now`; `proof` is its last copy, None when it never got a whole
    one.
    """

    standby: str
    state: State
    since: datetime
    now: datetime
    proof: SyncProof | None = None
    detail: str = ""

    @property
    def lag(self) -> float | None:
        """Seconds of what was written that would be lost with the server; None when nothing is proven."""
        return loss_bound(self.proof, self.now.timestamp())

    @property
    def event(self) -> str:
        """What its state is announced as."""
        return "standby_recovered" if self.state is State.OK else f"standby_{self.state.lower()}"

    def __str__(self) -> str:
        lag = "it never got a whole copy" if self.lag is None else f"its copy is {self.lag:.0f} s old"
        return f"standby {self.standby} is {self.state}: {lag}" + (f"; {self.detail}" if self.detail else "")

    def as_rows(self) -> list[dict[str, str]]:
        """The one row of its table."""
        proof = self.proof
        return [
            {
                "standby": self.standby,
                "state": self.state.value,
                "since": _format(self.since),
                "lag (s)": "" if self.lag is None else f"{self.lag:.0f}",
                "copy": str(proof.sequence) if proof else "",
                "as of": _format(datetime.fromtimestamp(proof.started, UTC)) if proof else "",
                "took (s)": f"{proof.finished - proof.started:.1f}" if proof else "",
                "epoch": str(proof.epoch) if proof else "",
                "from": proof.server if proof else "",
                "detail": self.detail,
                "token": proof.as_text() if proof else "",
            }
        ]


def judge(
    share: Share,
    before: Standing | None,
    proof: SyncProof | None,
    trouble: tuple[State, str] | None,
    now: datetime,
) -> Standing:
    """How the standby stands after an attempt to copy; `proof` is what it has, if it could be asked."""
    name = share.standby.name if share.standby else ""
    same = before if before is not None and before.standby == name else None
    known = proof or (same.proof if same else None)
    state, detail = trouble or (State.OK, "")
    lag = loss_bound(known, now.timestamp())
    if lag is not None and lag > share.recovery_point_seconds:
        detail = f"{detail}; " if detail else ""
        detail += f"the share may lose {share.recovery_point_seconds} s"
        state = State.BEHIND
    since = same.since if same and same.state is state else now
    return Standing(name, state, since, now, known, detail)


def is_news(before: Standing | None, after: Standing) -> bool:
    """Whether others are told: of a change, and of the first look only when something is wrong."""
    was = before.state if before is not None and before.standby == after.standby else State.OK
    return after.state is not was


def name_trouble(error: str, refused: bool = False) -> tuple[State, str]:
    """What an error is to whoever watches the standby, in one line."""
    line = next((text for text in error.splitlines() if any(sign in text for sign in _FULL)), "")
    if line:
        return State.FULL, line.strip()
    head = error.strip().partition("\n")[0]
    if _UNREACHABLE in error:
        return State.UNREACHABLE, head
    return (State.REFUSED if refused else State.FAILED), head


def parse_standing(table: Iterable[Mapping[str, str]]) -> Standing | None:
    """What a table shows; None for one that is not of ours, or was damaged."""
    for row in table:
        try:
            since = datetime.strptime(row["since"], _TIME).replace(tzinfo=UTC)
            return Standing(
                row["standby"], State(row["state"]), since, since, parse_proof(row["token"]), row["detail"]
            )
        except (KeyError, ValueError):
            continue
    return None


def _format(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_TIME)
