"""What was run, statement by statement, for whoever has to know later: no secrets, nothing left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tasks.grants.statements import shown
from tasks.grants.values import GrantStep

_LINES_AT_ONCE = 100


class Journal:
    """Tells `tell` every statement before it is run, a hundred in one message where there are many.

    So one that was run is told of even when the run is killed the moment after; what did not happen as it was
    told, follows. To be closed in the end, also of a run that fails.
    """

    def __init__(self, server: str, tell: Callable[[str], None]) -> None:
        self.server = server
        self._tell = tell
        self._lines: list[str] = []
        self.steps: list[GrantStep] = []

    def ahead(self, steps: Sequence[GrantStep]) -> Iterator[GrantStep]:
        """Yield the steps in order, each one told of."""
        for start in range(0, len(steps), _LINES_AT_ONCE):
            self.close()
            some = steps[start : start + _LINES_AT_ONCE]
            lines = (shown(step) for step in some)
            self._tell("\n".join([f"{self.server}: {len(some)} statement(s) to be run", *lines]))
            yield from some

    def note(self, step: GrantStep, *, changed: bool) -> None:
        """Take down that `step` was run; one that had no effect left to have changed nothing."""
        if changed:
            self.steps.append(step)
        else:
            self._lines.append(f"was so already: {shown(step)}")

    def note_refused(self, step: GrantStep, why: Exception) -> None:
        """Take down that the server refused `step`, in its words."""
        self._lines.append(f"refused: {shown(step)}: {why}")

    def note_skipped(self, step: GrantStep) -> None:
        """Take down that `step` was not run, because of one that was refused."""
        self._lines.append(f"not run: {shown(step)}")

    def note_sessions(self, ended: int) -> None:
        """Take down how many sessions of accounts that leave were ended."""
        if ended:
            self._lines.append(f"{ended} session(s) of accounts that leave ended")

    def close(self) -> None:
        """Everything that was taken down has been told."""
        if self._lines:
            self._tell("\n".join([f"{self.server}: of these statements", *self._lines]))
        self._lines = []
