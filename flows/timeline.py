"""When what happened in a failover, as a table that the operator reads afterwards."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import get_run_logger

from flows.publish import publish_table
from tasks.outcome import Outcome


class Timeline:
    """Marks of one run, each with the seconds since its start."""

    def __init__(self, share: str) -> None:
        self.share = share
        self.began = datetime.now(UTC)
        self.marks: list[tuple[datetime, str]] = []

    def mark(self, what: str, at: datetime | None = None) -> None:
        """`what` became so: just now, or `at`."""
        at = at or datetime.now(UTC)
        self.marks.append((at, what))
        get_run_logger().info("%.1f s: %s", (at - self.began).total_seconds(), what)

    @property
    def rows(self) -> list[dict[str, str]]:
        """The marks in the order in which they became so."""
        return [
            {
                "at": f"{at:%H:%M:%S}.{at.microsecond // 100_000}",
                "after": f"{(at - self.began).total_seconds():.1f}",
                "what": what,
            }
            for at, what in sorted(self.marks)
        ]

    def add(self, outcome: Outcome, at: datetime) -> None:
        """What became of a host, and when."""
        self.mark(f"{outcome.host}: {outcome.detail if outcome.ok else f'NOT: {outcome.error}'}", at)

    def publish(self, headline: str) -> None:
        """It can be seen as the table `timeline-<share>`; the headline says what was lost."""
        publish_table("timeline", self.share, self.rows, headline)
