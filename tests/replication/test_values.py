"""Tokens, and what follows from them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.replication.orphans import CLOCK_SECONDS, find_orphans
from tasks.replication.values import Difference, SyncProof, loss_bound, parse_proof
from tests.replication.scene import PATHS, SHARE, proof, standby, tree


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**9), st.floats(0, 4e9), st.floats(0, 4e9), st.integers(0, 99))
def test_a_token_is_read_as_it_was_written(number: int, started: float, finished: float, epoch: int) -> None:
    token = SyncProof(number, started, finished, epoch, "nfs1")
    assert parse_proof(token.as_text()) == token


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"sequence": 1}', "epoch 1 on nfs1"])
def test_a_damaged_token_proves_nothing(text: str) -> None:
    assert parse_proof(text) is None


def test_the_bound_is_from_the_start_of_the_copy() -> None:
    assert loss_bound(SyncProof(1, started=100.0, finished=160.0, epoch=1), 200.0) == 100.0
    assert loss_bound(SyncProof(1, started=100.0, finished=160.0, epoch=1), 90.0) == 0.0
    assert loss_bound(None, 200.0) is None
    assert loss_bound(SyncProof(0, 0.0, 0.0, 0), 200.0) is None


def test_a_standby_has_what_both_trees_have() -> None:
    side = standby(proof(7))
    assert side.state(SHARE).proof == proof(7)
    older = replace(side, trees={PATHS[0]: tree(proof(7)), PATHS[1]: tree(proof(6))})
    assert older.state(SHARE).proof == proof(6)
    for missing in (None, proof(0, 0)):
        half = replace(side, trees={PATHS[0]: tree(proof(7)), PATHS[1]: tree(missing)})
        assert half.state(SHARE).proof is None


def difference(path: bytes, changed: float, *, kind: str = "file", vanishes: bool = True) -> Difference:
    return Difference("data", path, kind=kind, vanishes=vanishes, changed=changed)


def test_what_was_written_since_the_last_copy_is_an_orphan() -> None:
    old, new = 1000.0 - CLOCK_SECONDS - 1, 1001.0
    found = [
        difference(b"new", new),
        difference(b"deleted elsewhere", old),
        difference(b"moved", new, kind="directory"),
        difference(b"moved/deep/old", old),
        difference(b"kept", new, kind="directory", vanishes=False),
        difference(b"kept/old", old),
    ]
    assert [one.path for one in find_orphans(found, proof(1))] == [
        b"new",
        b"moved",
        b"moved/deep/old",
        b"kept",
    ]
    assert find_orphans(found, None) == tuple(found)


def test_a_name_can_be_shown_whatever_it_is() -> None:
    assert difference(b"a\n\xff\xc3\xa4", 0.0).name == r"a\n\\xff\xe4"
