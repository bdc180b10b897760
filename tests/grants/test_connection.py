"""What a connection does to the process that it is read in."""

import gc
from contextlib import suppress

from tasks.grants.connection import without_collections


def test_nothing_is_collected_while_it_is_read_and_afterwards_as_before() -> None:
    seen = []
    with suppress(ValueError), without_collections():
        seen.append(gc.isenabled())
        int("a bad row")
    assert [*seen, gc.isenabled()] == [False, True]


def test_who_collects_nothing_goes_on_so() -> None:
    gc.disable()
    try:
        with without_collections():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
