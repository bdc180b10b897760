"""What is held to be so, sample after sample: three raise a verdict, two clear it. Pure.

The rows are the whole memory between two runs: they are what the operator's table shows, and are read back
from it. So whoever looks at the table sees everything that the next run knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from tasks.liveness.quorum import SERVER, WARNING, Key
from tasks.liveness.values import Verdict, Watched
from tasks.liveness.verdicts import Finding

TO_RAISE, TO_CLEAR = 3, 2
# A client notices a server's silence some seconds before or after the others.
TOGETHER = timedelta(seconds=30)
# How long after its server a client may need: a connection is tried again after 3, 6, 12... seconds.
TO_RECONNECT = timedelta(seconds=180)
_TIME = "%Y-%m-%d %H:%M:%SZ"
_HANGS = frozenset({Verdict.HUNG, Verdict.FAILING_OVER})
_NOT_THERE = frozenset({Verdict.NOT_MOUNTED, Verdict.UNSEEN})
# What a cluster shows while it moves a share, and is nobody's alarm before the time for that is up.
_BUDGETED = frozenset({Verdict.HUNG, Verdict.DEGRADED})


@dataclass(frozen=True, slots=True)
class Sign:
    """Samples that say otherwise than what is held to be so: `count` in a row, the first at `since`."""

    verdict: Verdict
    count: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Row:
    """What is held to be so of one mount or server. `because` names the server whose fault it is."""

    verdict: Verdict
    since: datetime
    detail: str = ""
    sign: Sign | None = None
    because: str = ""

    @property
    def announced(self) -> Verdict:
        """What is told to others: not what follows from a fault that they are told of already."""
        return Verdict.OK if self.because else self.verdict


@dataclass(frozen=True, slots=True)
class Change:
    """A change that others are told of."""

    machine: str
    mount: str
    was: Verdict
    now: Verdict
    since: datetime
    detail: str

    def __str__(self) -> str:
        return f"{self.machine} {self.mount}: {self.was} -> {self.now} ({self.detail})"


@dataclass(frozen=True, slots=True)
class Watch:
    """Everything that is held to be so of a share."""

    rows: Mapping[Key, Row] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """No sample is on its way to change anything, so that another one would say nothing new."""
        return all(row.sign is None for row in self.rows.values())

    @property
    def unhealthy(self) -> tuple[Key, ...]:
        return tuple(key for key, row in self.rows.items() if not row.verdict.healthy)

    @property
    def mounted(self) -> bool:
        """Some node is seen to have the share mounted, well or not."""
        mounts = (row for (_, mount), row in self.rows.items() if mount.startswith("/"))
        return any(row.verdict not in _NOT_THERE for row in mounts)

    def as_rows(self) -> list[dict[str, str]]:
        """Rows for a table artifact: what is wrong first."""
        ordered = sorted(self.rows.items(), key=lambda item: (item[1].verdict.healthy, bool(item[1].because)))
        return [_as_row(key, row) for key, row in ordered]


def judge(before: Watch, found: Mapping[Key, Finding], now: datetime, watched: Watched) -> Watch:
    """What is held to be so after one more sample. What is no longer looked at is forgotten."""
    rows = {key: _judge_row(before.rows.get(key), finding, now, watched) for key, finding in found.items()}
    server = rows.get((watched.server, SERVER))
    if server is None:
        return Watch(rows)
    return Watch(
        {
            key: row if row is server else _attribute(row, server, watched.server, now)
            for key, row in rows.items()
        }
    )


def find_changes(before: Watch, after: Watch) -> tuple[Change, ...]:
    """What others are told of between two states; the server first."""
    changes = []
    for key, row in after.rows.items():
        old = before.rows.get(key)
        was = old.announced if old else Verdict.OK
        if row.announced is not was:
            changes.append(Change(*key, was, row.announced, row.since, row.detail))
    return tuple(sorted(changes, key=lambda change: (change.mount != SERVER, change.machine, change.mount)))


def find_warning(before: Watch, after: Watch) -> str:
    """What a server warns of since this look, while its verdict is as it was; or nothing."""
    if any(WARNING in row.detail for row in before.rows.values()):
        return ""
    return next((row.detail for row in after.rows.values() if WARNING in row.detail), "")


def returned_lately(before: Watch, watched: Watched, now: datetime) -> bool:
    """Whether the server was away when it was last looked at, or came back so lately that clients may still
    be about to follow.
    """
    row = before.rows.get((watched.server, SERVER))
    return row is not None and (row.verdict in _HANGS or now - row.since <= TO_RECONNECT)


def parse_rows(table: Iterable[Mapping[str, str]]) -> Watch:
    """The state that a table shows; rows that are not of ours, or were damaged, are left out."""
    rows: dict[Key, Row] = {}
    for line in table:
        try:
            row = Row(
                Verdict(line["verdict"]),
                _parse_time(line["since"]),
                line.get("detail", ""),
                _parse_sign(line.get("sign", "")),
                line.get("because of", ""),
            )
        except (KeyError, ValueError):
            continue
        rows[line.get("machine", ""), line.get("mount", "")] = row
    return Watch(rows)


def _judge_row(old: Row | None, finding: Finding, now: datetime, watched: Watched) -> Row:
    old = old or Row(Verdict.OK, now)
    verdict, detail = finding.verdict, finding.detail
    if old.verdict is Verdict.FAILING_OVER and verdict in _BUDGETED:
        verdict = _name_trouble(verdict, old.since, now, watched)
        return replace(old, verdict=verdict, detail=detail, sign=None)
    if verdict is old.verdict:
        return replace(old, detail=detail, sign=None)
    sign = _count(old, verdict, now)
    needed = TO_CLEAR if verdict is Verdict.OK else TO_RAISE
    if sign.count < needed:
        return replace(old, sign=sign, detail=old.detail if old.verdict is not Verdict.OK else detail)
    if verdict in _BUDGETED:
        verdict = _name_trouble(verdict, sign.since, now, watched)
    return Row(verdict, sign.since, detail)


def _count(old: Row, verdict: Verdict, now: datetime) -> Sign:
    """Samples in a row: while all was well, any trouble counts; otherwise only the same kind does."""
    before = old.sign
    goes_on = before is not None and (
        before.verdict is verdict or (old.verdict is Verdict.OK and verdict is not Verdict.OK)
    )
    if before is None or not goes_on:
        return Sign(verdict, 1, now)
    return Sign(verdict, before.count + 1, before.since)


def _name_trouble(verdict: Verdict, since: datetime, now: datetime, watched: Watched) -> Verdict:
    budget = timedelta(seconds=watched.failover_seconds)
    return Verdict.FAILING_OVER if watched.external and now - since < budget else verdict


def _attribute(row: Row, server: Row, name: str, now: datetime) -> Row:
    """Say of a hang that began with the server's that it is the server's, until long after it is back."""
    if row.verdict not in _HANGS:
        return replace(row, because="") if row.because else row
    if server.verdict in _HANGS:
        together = row.since >= server.since - TOGETHER
        return replace(row, because=name) if together else row
    if row.because and now - server.since > TO_RECONNECT:
        return replace(row, because="")
    return row


def _as_row(key: Key, row: Row) -> dict[str, str]:
    return {
        "machine": key[0],
        "mount": key[1],
        "verdict": row.verdict.value,
        "since": _format_time(row.since),
        "detail": row.detail,
        "because of": row.because,
        "sign": f"{row.sign.verdict} {row.sign.count} times since {_format_time(row.sign.since)}"
        if row.sign
        else "",
    }


def _parse_sign(text: str) -> Sign | None:
    if not text:
        return None
    head, _, since = text.partition(" times since ")
    verdict, _, count = head.partition(" ")
    return Sign(Verdict(verdict), int(count), _parse_time(since))


def _format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_TIME)


def _parse_time(text: str) -> datetime:
    return datetime.strptime(text, _TIME).replace(tzinfo=UTC)


def summarise(watch: Watch, changes: Sequence[Change]) -> str:
    """One sentence for the run's state."""
    bad = [(key, row) for key, row in watch.rows.items() if not row.verdict.healthy]
    if not bad:
        moving = [key for key, row in watch.rows.items() if row.verdict is Verdict.FAILING_OVER]
        said = "is failing over, within its budget" if moving else f"is well: {len(watch.rows)} rows are OK"
    else:
        causes = [(key, row) for key, row in bad if not row.because] or bad
        said = "; ".join(f"{machine} {mount} is {row.verdict}" for (machine, mount), row in causes)
        others = len(bad) - len(causes)
        said += f"; {others} more because of it" if others else ""
    return f"{said}. {len(changes)} change(s)." if changes else f"{said}. No change."
