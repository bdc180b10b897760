"""Which nodes work from another server than they should, and which of them hold nothing back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.failover.facts import find_detached, find_misplaced
from tasks.nfs.mounted import MountEntry
from tests.liveness.scene import WATCHED, Damage, entry, mounted, on, sample

STRAY = entry("/var/aegir/sites", source="192.0.2.99:/srv/packmaster/files/sites")


def stopped(*mounts: MountEntry) -> Damage:
    """php-fpm is stopped, and these are all that is mounted."""
    return lambda sight: replace(mounted(*mounts)(sight), drained=("php8.2-fpm",))


def test_nodes_that_work_from_their_server() -> None:
    assert find_misplaced(WATCHED, sample()) == {}
    assert find_detached(WATCHED, sample()) == ()


@pytest.mark.parametrize(
    ("damage", "said", "detached"),
    [
        (stopped(), "nothing is mounted at", ("slave1",)),
        (lambda sight: replace(sight, drained=("php8.2-fpm",)), "was left stopped", ("slave1",)),
        (mounted(), "nothing is mounted at", ()),
        (stopped(STRAY), "is mounted from 192.0.2.99", ()),
    ],
)
def test_a_node_that_does_not(damage: Damage, said: str, detached: tuple[str, ...]) -> None:
    seen = on("slave1", damage)
    assert list(find_misplaced(WATCHED, seen)) == ["slave1"]
    assert said in find_misplaced(WATCHED, seen)["slave1"]
    assert find_detached(WATCHED, seen) == detached
