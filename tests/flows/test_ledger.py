"""Who serves a share is changed from what was read, or not at all."""

from __future__ import annotations

import pytest

from flows.ledger import read_ledger, write_ledger
from tasks.errors import PlanRefused
from tasks.failover import Ledger

FIRST, SECOND = Ledger(1, "nfs1"), Ledger(2, "nfs2", moving=True)


def test_a_change_that_somebody_else_made_meanwhile_is_not_overwritten(prefect_server: str) -> None:
    assert read_ledger("led-files") == Ledger()
    write_ledger("led-files", Ledger(), FIRST)
    write_ledger("led-files", FIRST, SECOND)
    assert read_ledger("led-files") == SECOND
    with pytest.raises(PlanRefused, match="epoch 2 on nfs2, not finished, and a moment ago it said epoch 1"):
        write_ledger("led-files", FIRST, Ledger(2, "nfs3"))
    # What is so already may be said again: a run that was killed right after it goes on.
    write_ledger("led-files", FIRST, SECOND)
