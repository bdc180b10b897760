"""What a command did, wherever it ran."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

# A whole script would hide the message that follows it.
_SCRIPT = "(script)"


@dataclass(frozen=True, slots=True)
class Result:
    """What a command did: `status` is its exit status, `out` and `err` are what it printed (bytes)."""

    host: str
    argv: tuple[str, ...]
    status: int
    out: bytes
    err: bytes
    seconds: float

    @property
    def ok(self) -> bool:
        return self.status == 0

    @property
    def text(self) -> str:
        """Standard output as text; bytes that are not UTF-8 survive as surrogate escapes."""
        return self.out.decode("utf-8", "surrogateescape")

    @property
    def error_text(self) -> str:
        return self.err.decode("utf-8", "replace").strip()

    def describe(self) -> str:
        """Host, command, status and the last lines of what it printed, for an operator."""
        printed = (self.error_text or self.out.decode("utf-8", "replace").strip()).splitlines()[-10:]
        tail = "\n    ".join(printed) or "(it printed nothing)"
        command = shlex.join(_SCRIPT if len(word) > 200 else word for word in self.argv)
        if len(command) > 300:
            command = command[:297] + "..."
        return (
            f"on {self.host}, `{command}` exited with {self.status} after {self.seconds:.1f} s:\n    {tail}"
        )
