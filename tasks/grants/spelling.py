"""How the name of a database is spelled in a grant, where `_` and `%` are wildcards."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tasks.grants.values import ServerFacts


def escape_pattern(database: str, *, literal: bool = False) -> str:
    """Return the spelling that a grant on exactly `database` needs.

    `_` and `%` are wildcards in a grant (MySQL manual, GRANT), so an unescaped `a_b` opens `axb` too; with
    partial_revokes they are not, and an escaped name would open nothing.
    """
    if literal:
        return database
    return database.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")


def stored_name(database: str, server: ServerFacts) -> str:
    """Return the name under which the server keeps `database`."""
    return database.lower() if server.folds_case else database


def grant_pattern(database: str, server: ServerFacts) -> str:
    """Return the one spelling of a right on exactly `database` that is right on this server."""
    return escape_pattern(stored_name(database, server), literal=server.literal_names)


def is_spelling_of(pattern: str, database: str) -> bool:
    """Say whether `pattern` is `database` with some, all or none of its wildcards escaped."""
    return re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL) == database or pattern == database
