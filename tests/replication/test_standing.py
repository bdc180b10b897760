"""What others are told of a standby, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.replication.standing import Standing, State, is_news, judge, name_trouble, parse_standing
from tasks.replication.values import SyncProof
from tests.replication.scene import SHARE, proof

NOW = datetime.fromtimestamp(1200, UTC)
FULL = (State.FULL, "the disk of /srv/disk/sites on nfs2 is full: 3 MiB are free")


def test_a_standby_with_a_fresh_copy_is_well() -> None:
    standing = judge(SHARE, None, proof(7), None, NOW)
    assert str(standing) == "standby nfs2 is OK: its copy is 200 s old"
    assert not is_news(None, standing)
    (row,) = standing.as_rows()
    assert (row["state"], row["lag (s)"], row["copy"], row["took (s)"]) == ("OK", "200", "7", "2.0")


def test_a_copy_older_than_the_recovery_point_is_behind_whatever_the_reason() -> None:
    late = NOW + timedelta(seconds=150)
    for trouble in (None, FULL, (State.UNREACHABLE, "nfs2 cannot be reached: no route")):
        standing = judge(SHARE, None, proof(7), trouble, late)
        assert (standing.state, standing.lag) == (State.BEHIND, 350)
        assert standing.detail.endswith("the share may lose 300 s")
        assert standing.event == "standby_behind"


def test_one_event_a_change() -> None:
    before, told = None, []
    for seconds, trouble in ((0, None), (10, FULL), (20, FULL), (200, FULL), (210, FULL), (220, None)):
        token = proof(7) if trouble else proof(8, started=1200.0 + seconds)
        after = judge(SHARE, before, token, trouble, NOW + timedelta(seconds=seconds))
        told += [after.event] if is_news(before, after) else []
        before = after
    assert told == ["standby_full", "standby_behind", "standby_recovered"]


def test_what_a_silent_standby_had_is_remembered() -> None:
    before = judge(SHARE, None, proof(7), None, NOW)
    after = judge(SHARE, before, None, (State.UNREACHABLE, "-"), NOW + timedelta(seconds=9))
    assert (after.proof, after.lag) == (proof(7), 209)
    # After the servers were exchanged it is another machine's.
    other = Standing("nfs9", State.OK, NOW, NOW, proof(7))
    assert judge(SHARE, other, None, (State.FAILED, "-"), NOW).lag is None


@pytest.mark.parametrize(
    ("error", "refused", "state"),
    [
        ("nfs2 cannot be reached: from nfs1 (timed out)", False, State.UNREACHABLE),
        (
            "share files could not be copied\nrsync: write failed: No space left on device (28)",
            False,
            State.FULL,
        ),
        (f"{FULL[1]}. Make room there", True, State.FULL),
        ("nfs2 is primary of epoch 2: the copy would go the wrong way", True, State.REFUSED),
        ("on nfs1, `rsync` exited with 23", False, State.FAILED),
    ],
)
def test_an_error_has_a_name(error: str, refused: bool, state: State) -> None:
    assert name_trouble(error, refused)[0] is state
    assert "\n" not in name_trouble(error, refused)[1]


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(list(State)),
    st.integers(0, 2**31),
    st.none() | st.builds(proof, st.integers(1, 99), st.integers(0, 9)),
    st.text(max_size=40),
)
def test_a_table_is_read_as_it_was_written(
    state: State, since: int, token: SyncProof | None, detail: str
) -> None:
    moment = datetime.fromtimestamp(since, UTC)
    standing = Standing("nfs2", state, moment, moment, token, detail)
    assert parse_standing(standing.as_rows()) == standing


@pytest.mark.parametrize("table", [[], [{}], [{"result": "-"}], [{"since": "-"}]])
def test_a_damaged_table_is_none(table: list[dict[str, str]]) -> None:
    assert parse_standing(table) is None
