"""The parts of the suite: what shares much of a bed is tested in one process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
# The longest first: the processes take these as they come.
PARTS = ("pack", "cluster", "share", "service", "production", "servers", "access", "databases", "code")
# By what the names of their modules begin with; the rest is about a cluster.
SUBJECTS = {
    "service": ("service", "ui"),
    "production": ("production",),
    "servers": ("bed", "fence_filter", "prepare_server", "servers", "sites", "ssh", "web"),
    "access": ("access",),
    "databases": ("grants", "own_account", "rotation", "galera"),
    "code": ("bench", "code", "pruned", "spare"),
}
IN_PARALLEL = "PYTEST_XDIST_WORKER" in os.environ


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """Whatever is in this directory needs Docker; what shares much of a bed runs in one process.

    pytest-xdist names the groups in the middle, and pytest moves what has the same parameters together.
    """
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.nodes)
            item.add_marker(pytest.mark.xdist_group(part_of_bed(item)))
    yield
    items.sort(key=turn)


def turn(item: pytest.Item) -> int:
    """Tests without nodes come first; in several processes those last that are short and even out the end.

    What needs a server and no nodes finds that server empty where it comes first.
    """
    if HERE in item.path.parents:
        return PARTS.index(part_of_bed(item))
    is_short = item.get_closest_marker("server") is None
    return len(PARTS) if IN_PARALLEL and is_short else -1


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to begin where tests of one bed would be dealt out to several processes, one by one."""
    if IN_PARALLEL:
        for item in session.items:
            if HERE in item.path.parents and "@" not in item.nodeid:
                pytest.exit(f"{item.nodeid}: pytest-xdist ignores its group; run `make setup`", returncode=4)


def part_of_bed(item: pytest.Item) -> str:
    if "pack_bed" in getattr(item, "fixturenames", ()):
        about_the_share = any(word in item.path.stem for word in ("replication", "failover"))
        return "share" if about_the_share else "pack"
    subject = item.path.stem.removeprefix("test_")
    return next((part for part, words in SUBJECTS.items() if subject.startswith(words)), "cluster")
