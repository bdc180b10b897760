"""What was run, statement by statement, for whoever has to know later: no secrets, nothing left out."""

from __future__ import annotations

from collections.abc import Callable

from tasks.grants.statements import shown
from tasks.grants.values import GrantStep

_LINES_AT_ONCE = 100


class Journal:
    """Tells `tell` every statement, a hundred in one message where there are many.

    To be closed in the end, also of a run that fails: what was run is told even then.
    """

    def __init__(self, server: str, tell: Callable[[str], None]) -> None:
        self.server = server
        self._tell = tell
        self._lines: list[str] = []
        self.steps: list[GrantStep] = []

    def note(self, step: GrantStep, *, changed: bool) -> None:
        """Take down that `step` was run; one that had no effect left to have changed nothing."""
        self._lines.append(shown(step) + ("" if changed else " -- was so already"))
        if changed:
            self.steps.append(step)
        if len(self._lines) >= _LINES_AT_ONCE:
            self.close()

    def note_sessions(self, ended: int) -> None:
        """Take down how many sessions of accounts that leave were ended."""
        if ended:
            self._lines.append(f"{ended} session(s) of accounts that leave ended")

    def close(self) -> None:
        """Everything that was taken down has been told."""
        if self._lines:
            self._tell("\n".join([f"{self.server}: {len(self._lines)} statement(s)", *self._lines]))
        self._lines = []
