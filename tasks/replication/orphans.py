"""What only the old server of a share has: written after the last copy, and on nobody else's disk. Pure.

Told by its clock, which may have been wrong: good enough for a list, and not for what is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable

from tasks.replication.values import Difference, SyncProof

# Clocks of the controller and of a server may differ by this much; what is listed needlessly harms nobody.
CLOCK_SECONDS = 120.0


def find_orphans(differences: Iterable[Difference], proof: SyncProof | None) -> tuple[Difference, ...]:
    """Those that were written after the last proven copy was started: nobody else has them.

    What was renamed keeps its own time, and the directory that it was renamed with does not: so whatever lies
    in a directory that differs and was touched since counts as written. Without a proof everything does.
    """
    found = tuple(differences)
    since = 0.0 if proof is None or not proof.sequence else proof.started - CLOCK_SECONDS
    fresh = {
        (one.tree, one.path)
        for one in found
        if one.kind == "directory" and one.vanishes and one.changed >= since
    }

    def is_orphan(one: Difference) -> bool:
        parts = one.path.split(b"/")
        above = ((one.tree, b"/".join(parts[:n])) for n in range(1, len(parts)))
        return one.changed >= since or any(parent in fresh for parent in above)

    return tuple(one for one in found if is_orphan(one))
