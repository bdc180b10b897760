"""Our lines in /etc/fstab, and nobody else's: every other line stays as it is, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tasks.nfs.mounted import unescape
from tasks.nfs.mounts import MARK, Mount

FSTAB = "/etc/fstab"


@dataclass(frozen=True, slots=True)
class FstabLine:
    """A line that mounts something. `share` is whose it is when it is ours, and empty when it is not."""

    point: str
    text: str
    share: str = ""


def parse_fstab(text: str) -> tuple[FstabLine, ...]:
    """The lines of fstab(5) that mount something, in order."""
    return tuple(line for raw in split_lines(text) if (line := _parse_line(raw)) is not None)


def edit_fstab(text: str, share: str, mounts: Sequence[Mount]) -> str:
    """The same table with exactly these lines of the share; a line that stays keeps its place."""
    wanted = {mount.point: mount.fstab_line for mount in mounts}
    lines: list[str] = []
    for raw in split_lines(text):
        line = _parse_line(raw)
        if line is None or line.share != share:
            lines.append(raw)
        elif line.point in wanted:
            lines.append(f"{wanted.pop(line.point)}\n")
    if wanted and lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return "".join([*lines, *(f"{line}\n" for line in wanted.values())])


def split_lines(text: str) -> list[str]:
    """Lines with their ends, split at line feeds only: nothing else ends a line of fstab."""
    *whole, last = text.split("\n")
    return [*(f"{line}\n" for line in whole), *([last] if last else [])]


def _parse_line(raw: str) -> FstabLine | None:
    fields = raw.split()
    if len(fields) < 2 or raw.lstrip().startswith("#"):
        return None
    options = fields[3].split(",") if len(fields) > 3 else []
    marks = [option.partition("=")[2] for option in options if option.startswith(f"{MARK}=")]
    return FstabLine(unescape(fields[1]), raw, marks[0] if marks else "")
