"""What is copied where, and everything that is refused: golden cases and properties."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import PlanRefused
from tasks.fencing.record import Record, Role
from tasks.nfs.exports import Export
from tasks.replication.plan import FEWEST_DELETIONS
from tasks.replication.safety import SPARE_BYTES, Purpose
from tasks.replication.values import Side
from tests.replication.scene import DISK, GIB, KEY, PATHS, SHARE, TWO, both, plan, proof, server, standby

PURPOSES: tuple[Purpose, ...] = ("standby", "switch", "rejoin")


def test_the_first_copy_adopts_empty_trees_and_prepares_the_way() -> None:
    bare = standby(None, doors=(), files={}, has_rsync=False)
    planned = plan(server(None, public_key="", files={}), bare)
    assert planned.sequence == 1
    assert planned.adopts == PATHS
    assert str(planned) == (
        "share files: copy 1 (epoch 1), nfs1 -> nfs2\n"
        "  nfs2: install rsync\n"
        "  nfs1: a key of its own, and the host keys of nfs2\n"
        "  nfs2: takes in what nfs1 (192.0.2.61) sends for this share, and nothing else\n"
        "  nfs2: /srv/disk/platforms is empty, and becomes the share's\n"
        "  nfs2: /srv/disk/sites is empty, and becomes the share's\n"
        "  nfs1: copy code to nfs2, taking away 20000 files at most\n"
        "  nfs1: copy data to nfs2, taking away 20000 files at most\n"
        "  nfs2: has on its disk what was written before copy 1 began"
    )
    assert [row["host"] for row in planned.as_rows()] == [host for host, _ in planned.steps]


def test_a_later_copy_only_copies() -> None:
    planned = plan(server(proof(7)), standby(proof(7)))
    assert (planned.sequence, planned.prepares, planned.adopts) == (8, (), ())
    assert planned
    assert planned.proof(5.0).order == (1, 8)


def test_a_copy_that_was_cut_short_is_counted_on() -> None:
    assert plan(server(proof(8)), standby(proof(7))).sequence == 9


def test_the_old_server_loses_its_door() -> None:
    planned = plan(server(proof(7), doors=("restrict ...",)), standby(proof(7)))
    assert planned.prepares == (("nfs1", "nobody may copy to it any more"),)


def test_another_key_or_a_changed_file_opens_the_door_anew() -> None:
    for there in (
        standby(proof(7), doors=("restrict x ssh-ed25519 AAAAOther",)),
        standby(proof(7), files={}),
        standby(proof(7), doors=()),
    ):
        assert [host for host, _ in plan(server(proof(7)), there).prepares] == ["nfs2"]


@pytest.mark.parametrize(
    ("ours", "theirs", "purpose", "says"),
    [
        (Record(1, Role.FENCED), Record(2, Role.PRIMARY), "standby", "wrong way"),
        (Record(1, Role.PRIMARY), Record(2, Role.PRIMARY), "rejoin", "wrong way"),
        (Record(1, Role.PRIMARY), Record(2, Role.STANDBY), "standby", "wrong way"),
        (Record(2, Role.PRIMARY), Record(2, Role.TAKING_OVER), "standby", "wrong way"),
        (Record(2, Role.PRIMARY), Record(1, Role.PRIMARY), "rejoin", "wrong way"),
        (Record(2, Role.STANDBY), Record(2, Role.STANDBY), "standby", "not the one that serves"),
        (Record(0, Role.NONE), Record(0, Role.STANDBY), "standby", "not the one that serves"),
        (Record(2, Role.FENCED), Record(2, Role.STANDBY), "standby", "not the one that serves"),
        (Record(2, Role.PRIMARY), Record(1, Role.FENCED), "standby", "was put out of action"),
        (Record(2, Role.PRIMARY), Record(1, Role.FENCED), "switch", "was put out of action"),
        (Record(4, Role.PRIMARY), Record(3, Role.TAKING_OVER), "standby", "overtaken"),
    ],
)
def test_the_wrong_way_is_refused(ours: Record, theirs: Record, purpose: Purpose, says: str) -> None:
    with pytest.raises(PlanRefused, match=says):
        plan(server(proof(7), record=ours), standby(proof(7), record=theirs), purpose)


@pytest.mark.parametrize(
    ("ours", "theirs", "purpose"),
    [
        (Record(), Record(), "standby"),
        (Record(2, Role.PRIMARY), Record(1, Role.STANDBY), "standby"),
        (Record(2, Role.FENCED), Record(2, Role.STANDBY), "switch"),
        (Record(2, Role.PRIMARY), Record(1, Role.FENCED), "rejoin"),
        (Record(2, Role.PRIMARY), Record(), "rejoin"),
        (Record(4, Role.PRIMARY), Record(3, Role.TAKING_OVER), "rejoin"),
    ],
)
def test_the_right_way_is_not(ours: Record, theirs: Record, purpose: Purpose) -> None:
    assert plan(server(proof(7), record=ours), standby(proof(7), record=theirs), purpose).sequence == 8


def test_a_standby_that_exports_is_refused() -> None:
    table = (Export(PATHS[1], "192.0.2.71", ("rw", "sync")), Export("/home", "192.0.2.9", ("rw",)))
    with pytest.raises(PlanRefused, match=r"exports /srv/disk/sites to 192\.0\.2\.71"):
        plan(server(proof(1)), standby(proof(1), table=table))
    assert plan(server(proof(1)), standby(proof(1), table=table[1:]))


@pytest.mark.parametrize("disk", ["", "ro"])
def test_a_disk_that_is_not_there_is_refused(disk: str) -> None:
    state = "mounted read-only" if disk else "not mounted"
    with pytest.raises(PlanRefused, match=rf"on nfs1 the disk {DISK} of share files is {state}"):
        plan(server(proof(1), disk=disk), standby(proof(1)))
    with pytest.raises(PlanRefused, match=rf"on nfs2 the disk {DISK} of share files is {state}"):
        plan(server(proof(1)), standby(proof(1), disk=disk))


def test_a_source_without_its_token_is_not_what_was_copied() -> None:
    """An empty directory, another disk, a restored one: its copy would take everything away."""
    for token in (None, proof(6)):
        with pytest.raises(PlanRefused, match="is newer than what lies on nfs1"):
            plan(server(token), standby(proof(7)))


def test_after_a_failover_only_rejoining_overwrites_what_the_old_server_began() -> None:
    here, there = server(proof(7), record=Record(2, Role.PRIMARY)), standby(proof(8))
    assert plan(here, there, "rejoin").epoch == 2
    with pytest.raises(PlanRefused, match="is newer"):
        plan(here, there)
    with pytest.raises(PlanRefused, match="is newer"):
        plan(both(here, token=None), there, "rejoin")


def test_somebodys_files_are_not_taken_away() -> None:
    with pytest.raises(PlanRefused, match="no copy of share files was ever made there"):
        plan(server(None), both(standby(None), empty=False))
    # A first copy that was cut short left its mark.
    assert plan(server(proof(1)), both(standby(proof(0, 0)), empty=False)).sequence == 2


def test_what_does_not_fit_is_refused_before_anything_is_copied() -> None:
    full = both(standby(proof(1)), free_bytes=SPARE_BYTES - 1)
    with pytest.raises(PlanRefused, match="nfs2 is full: 16 MiB are free"):
        plan(server(proof(1)), full)
    smaller = both(standby(proof(1)), total_bytes=4 * GIB, free_bytes=3 * GIB)
    with pytest.raises(PlanRefused, match="is full: 3072 MiB are free, and 3088 MiB are needed"):
        plan(server(proof(1)), smaller)
    with pytest.raises(PlanRefused, match="999 inodes are free"):
        plan(server(proof(1)), both(standby(proof(1)), free_inodes=999))
    assert plan(server(proof(1)), both(standby(proof(1)), total_inodes=0, free_inodes=0))
    # On a disk that others use, too, nothing follows from what is used of it.
    shared = replace(SHARE, disk="")
    assert plan(server(proof(1)), smaller, share=shared).deletions == FEWEST_DELETIONS


def test_a_directory_that_is_none_is_refused() -> None:
    with pytest.raises(PlanRefused, match="is absent on nfs1"):
        plan(both(server(proof(1)), kind="absent"), standby(proof(1)))
    with pytest.raises(PlanRefused, match="is link on nfs2"):
        plan(server(proof(1)), both(standby(proof(1)), kind="link"))


records = st.builds(Record, st.integers(0, 3), st.sampled_from(list(Role)))
tokens = st.none() | st.builds(proof, st.integers(0, 4), st.integers(0, 3))
sides = st.tuples(records, tokens, st.sampled_from(["rw", "ro", ""]))


def dress(side: Side, facts: tuple[Record, object, str]) -> Side:
    record, token, disk = facts
    return both(replace(side, record=record, disk=disk), token=token, empty=token is None)


@settings(max_examples=150, deadline=None)
@given(sides, sides, st.sampled_from(PURPOSES))
def test_never_both_ways(
    one: tuple[Record, object, str], other: tuple[Record, object, str], purpose: Purpose
) -> None:
    """Whatever is so, a copy never goes to who serves, nor both ways for the same purpose.

    Only two machines of which nobody ever knew anything cannot be told apart: the inventory decides.
    """

    def goes(here: tuple[Record, object, str], there: tuple[Record, object, str]) -> bool:
        try:
            plan(dress(server(), here), dress(standby(), there), purpose)
        except PlanRefused:
            return False
        return True

    there, back = goes(one, other), goes(other, one)
    unrecorded = one[0].role is Role.NONE and other[0].role is Role.NONE
    # Between two that were put out of action before a switch either may be the last copy's source: the caller
    # holds the share's lock, and knows which.
    assert not (there and back) or unrecorded or purpose == "switch"
    if there:
        assert other[0].role is not Role.PRIMARY
        assert other[0].role is not Role.TAKING_OVER or other[0].epoch < one[0].epoch
        assert other[0].epoch <= one[0].epoch
        assert one[2] == "rw"
        assert other[2] == "rw" or (purpose == "rejoin" and other[2] == "ro")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3))
def test_every_copy_is_later_than_all_before(copies: int, epoch: int) -> None:
    """plan(apply(plan)): each proof is newer than the last, and the way is prepared once."""
    here = server(None, record=Record(epoch, Role.PRIMARY), public_key="", files={})
    there = standby(None, record=Record(epoch, Role.STANDBY), doors=(), files={})
    seen = []
    for number in range(copies):
        planned = plan(here, there)
        assert bool(planned.prepares) == (number == 0)
        token = planned.proof(float(number), number + 0.5)
        here, there = server(token, record=here.record), standby(token, record=there.record)
        seen.append(token.order)
    assert seen == sorted(set(seen))
    assert KEY in there.doors[0]
    assert there.host == TWO.name
