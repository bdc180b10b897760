"""The one result algebra of a fan-out: every host gives an Outcome, the flow decides afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tasks.errors import HostsFailed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one step did on one host: changed or not, or why it failed.

    `detail` is one line an operator wants to read; `error` is None on success; `seconds` is wall time.
    """

    host: str
    step: str
    changed: bool = False
    detail: str = ""
    error: str | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def verdict(self) -> str:
        """`failed`, `changed` or `unchanged`."""
        if self.error is not None:
            return "failed"
        return "changed" if self.changed else "unchanged"

    def __str__(self) -> str:
        text = self.error if self.error is not None else self.detail
        return f"{self.host}: {self.step}: {self.verdict}" + (f" ({text})" if text else "")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Every Outcome of a fan-out, in the order they were asked for. Nothing is lost when some failed."""

    items: tuple[Outcome, ...] = ()

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __add__(self, other: Outcomes | Iterable[Outcome]) -> Outcomes:
        return Outcomes(self.items + tuple(other))

    @property
    def failed(self) -> tuple[Outcome, ...]:
        return tuple(o for o in self.items if not o.ok)

    @property
    def changed(self) -> tuple[Outcome, ...]:
        return tuple(o for o in self.items if o.changed)

    @property
    def failed_hosts(self) -> frozenset[str]:
        return frozenset(o.host for o in self.failed)

    def raise_if_failed(self) -> None:
        """Raise HostsFailed, carrying all outcomes, when any host failed."""
        if self.failed:
            raise HostsFailed(self)

    def as_rows(self) -> list[dict[str, str]]:
        """Rows for a table artifact, failures first."""
        ordered = sorted(self.items, key=lambda o: (o.ok, not o.changed))
        return [
            {
                "host": o.host,
                "step": o.step,
                "result": o.verdict,
                "seconds": f"{o.seconds:.2f}",
                "detail": (o.error if o.error is not None else o.detail)[:2000],
            }
            for o in ordered
        ]
