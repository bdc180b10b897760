"""The two that need nothing but rsync: Aegir's line, and the line that any administrator would write."""

from __future__ import annotations

import functools
import operator
from pathlib import Path

from bench.bed import DESTINATION, Bed
from bench.contender import Usage, run_command

# drush commands/core/rsync.core.inc
VCS_EXCLUDES = (".git", ".gitignore", ".hg", ".hgignore", ".hgrags", ".bzr", ".bzrignore", ".bzrtags", ".svn")


class AegirRsync:
    """Aegir's sync of a platform: one node after another, compressed (provision, Context/server.php).

    Aegir writes to the same absolute path on the node; here the path goes below DESTINATION.
    """

    name = "aegir"
    label = "Aegir's rsync line, one node after another"

    def __init__(self, bed: Bed, source: Path) -> None:
        self.bed = bed
        self.source = source
        self.destination = f"{DESTINATION}/{self.name}{source}"

    def prepare(self) -> None:
        pass

    def reset(self) -> None:
        self.bed.remove(f"{DESTINATION}/{self.name}")
        self.bed.run_everywhere("mkdir", "-p", f"{DESTINATION}/{self.name}")

    def run(self) -> Usage:
        return functools.reduce(_add, [run_command(self._line(node.address)) for node in self.bed.nodes])

    def settle(self) -> None:
        pass

    def close(self) -> None:
        pass

    def _line(self, address: str) -> tuple[str, ...]:
        return (
            *("rsync", "-e", self.bed.ssh_command, "-akz"),
            *(f"--exclude={name}" for name in VCS_EXCLUDES),
            *("--relative", "--keep-dirlinks", "--omit-dir-times", "--delete"),
            *(str(self.source), f"root@{address}:{DESTINATION}/{self.name}/"),
        )


class XargsRsync:
    """`rsync -a --delete` to all nodes at once under xargs: the yardstick."""

    name = "xargs"
    label = "rsync -a --delete under xargs -P 8"

    def __init__(self, bed: Bed, source: Path) -> None:
        self.bed = bed
        self.source = source
        self.destination = f"{DESTINATION}/{self.name}"

    def prepare(self) -> None:
        pass

    def reset(self) -> None:
        self.bed.remove(self.destination)

    def run(self) -> Usage:
        line = ("rsync", "-a", "--delete", "-e", self.bed.ssh_command, f"{self.source}/")
        addresses = "".join(f"{node.address}\n" for node in self.bed.nodes)
        target = f"root@{{}}:{self.destination}/"
        return run_command(("xargs", "-P", "8", "-I", "{}", *line, target), stdin=addresses)

    def settle(self) -> None:
        pass

    def close(self) -> None:
        pass


def _add(left: Usage, right: Usage) -> Usage:
    return Usage(*map(operator.add, (left.seconds, left.cpu), (right.seconds, right.cpu)))
