"""When what happened in a failover, as a table that the operator reads afterwards."""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import get_run_logger

from flows.publish import publish_table
from tasks.outcome import Outcomes


class Timeline:
    """Marks of one run, each with the seconds since its start."""

    def __init__(self, share: str) -> None:
        self.share = share
        self.began = datetime.now(UTC)
        self.rows: list[dict[str, str]] = []

    def mark(self, what: str) -> None:
        """`what` has just become so."""
        now = datetime.now(UTC)
        after = f"{(now - self.began).total_seconds():.1f}"
        self.rows.append({"at": now.strftime("%H:%M:%S"), "after": after, "what": what})
        get_run_logger().info("%s s: %s", after, what)

    def extend(self, outcomes: Outcomes, step: str) -> None:
        """What became of each host in a step that was done on all at once."""
        for outcome in outcomes:
            if outcome.step == step:
                done = (
                    f"{outcome.detail} ({outcome.seconds:.1f} s)" if outcome.ok else f"NOT: {outcome.error}"
                )
                self.mark(f"{outcome.host}: {done}")

    def publish(self, headline: str) -> None:
        """It can be seen as the table `timeline-<share>`; the headline says what was lost."""
        publish_table("timeline", self.share, self.rows, headline)
