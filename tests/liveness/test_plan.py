"""Which mounts are made anew: never one that is OK, never by force one that is alive."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from tasks.fleet import PLATFORMS, SITES
from tasks.liveness.history import TO_RECONNECT, Row, Sign, Watch, judge, returned_lately
from tasks.liveness.plan import RepairPlan, plan_repair
from tasks.liveness.quorum import find_all
from tasks.liveness.values import Sample, Verdict
from tests.liveness.scene import (
    CODE,
    DATA,
    EXTERNAL,
    HANGS,
    NODES,
    SILENT,
    WATCHED,
    at,
    cut_off,
    on,
    sample,
    server_sight,
)

V = Verdict
NOW = datetime(2026, 11, 23, tzinfo=UTC)
KEYS = [(member.name, mount.point) for member in WATCHED.members for mount in member.mounts]


def held(changes: dict[tuple[str, str], Verdict]) -> Watch:
    well = dict.fromkeys([*KEYS, ("nfs1", "server"), ("controller", "path to the server")], V.OK)
    return Watch({key: Row(verdict, NOW) for key, verdict in {**well, **changes}.items()})


def plan(changes: dict[tuple[str, str], Verdict], seen: Sample | None = None) -> RepairPlan:
    return plan_repair(WATCHED, held(changes), seen or sample())


def test_nothing_is_wrong() -> None:
    nothing = plan({})
    assert not nothing
    assert str(nothing) == "share files: nothing to repair"
    assert nothing.as_rows() == [{"order": "", "machine": "files", "step": "nothing to repair"}]


def test_a_stale_mount_is_made_anew_and_no_other() -> None:
    repair = plan({("slave1", PLATFORMS): V.STALE})
    assert str(repair) == (
        "slave1:\n  /var/aegir/platforms is STALE: mount it from 192.0.2.61:/srv/packmaster/files/platforms"
    )
    (node,) = repair.repairs
    assert [(one.mount.point, one.dead) for one in node.remounts] == [(PLATFORMS, True)]


def test_a_live_mount_of_the_wrong_server_is_never_forced() -> None:
    alive = plan({("slave1", SITES): V.WRONG_SERVER})
    assert [one.dead for one in alive.repairs[0].remounts] == [False]
    dead = plan({("slave1", SITES): V.WRONG_SERVER}, on("slave1", at(SITES, HANGS)))
    assert [one.dead for one in dead.repairs[0].remounts] == [True]


def test_what_hangs_is_left_until_its_server_answers() -> None:
    down = {("slave1", PLATFORMS): V.HUNG, ("slave1", SITES): V.HUNG, ("nfs1", "server"): V.HUNG}
    waiting = plan(down, on("slave1", cut_off, controller=SILENT))
    assert not waiting
    assert [left[:3] for left in waiting.left] == [
        ("slave1", PLATFORMS, "HUNG"),
        ("slave1", SITES, "HUNG"),
        ("nfs1", "server", "HUNG"),
    ]
    answering = plan({("slave1", SITES): V.HUNG}, on("slave1", at(SITES, HANGS)))
    assert [repair.host for repair in answering.repairs] == ["slave1"]


HANGING = on("slave1", at(SITES, HANGS))


def left_hanging(seen: Sample, changes: dict[tuple[str, str], Verdict] | None = None) -> str:
    """What is said of a mount that hangs on a node which the server answers, and is left."""
    repair = plan({("slave1", SITES): V.HUNG, **(changes or {})}, seen)
    assert not repair
    return next(why for machine, mount, _, why in repair.left if (machine, mount) == ("slave1", SITES))


def test_a_mount_that_hangs_with_its_servers_disk_is_left() -> None:
    """nfsd answers all the same, and what clients wrote is not on the disk yet."""
    frozen = replace(server_sight(), paths={CODE: HANGS, DATA: HANGS})
    seen = on(" ".join(node.name for node in NODES), at(SITES, HANGS), server=frozen)
    watch = Watch()
    for _ in range(3):
        watch = judge(watch, find_all(WATCHED, seen), NOW, WATCHED)
    repair = plan_repair(WATCHED, watch, seen)
    assert not repair
    assert {left[:3] for left in repair.left} == {
        *((node.name, SITES, "HUNG") for node in NODES),
        ("nfs1", "server", "HUNG"),
    }
    assert "its server is HUNG" in left_hanging(HANGING, {("nfs1", "server"): V.HUNG})


def test_a_mount_that_hangs_is_left_where_nobody_knows_of_the_servers_disk() -> None:
    assert "cannot be looked into" in left_hanging(replace(HANGING, server=None))
    for verdict in V:
        if verdict not in {V.OK, V.SLOW}:
            assert f"its server is {verdict}" in left_hanging(HANGING, {("nfs1", "server"): verdict})
    assert plan({("slave1", SITES): V.HUNG, ("nfs1", "server"): V.SLOW}, HANGING)


def test_a_mount_that_hangs_is_left_until_its_server_is_back_for_some_time() -> None:
    """Clients then claim what they had, and send once more what was not written."""
    assert "is back since" in left_hanging(replace(HANGING, server=replace(server_sight(), grace=True)))
    held_so = held({("slave1", SITES): V.HUNG})
    assert plan_repair(WATCHED, held_so, HANGING)
    assert not plan_repair(WATCHED, held_so, HANGING, returned=True)
    # What is stale or away holds nothing.
    assert plan_repair(WATCHED, held({("slave1", SITES): V.NOT_MOUNTED}), sample(), returned=True)
    assert not returned_lately(Watch(), WATCHED, NOW)
    assert returned_lately(held({("nfs1", "server"): V.HUNG}), WATCHED, NOW + 2 * TO_RECONNECT)
    assert returned_lately(held({}), WATCHED, NOW + TO_RECONNECT)
    assert not returned_lately(held({}), WATCHED, NOW + 2 * TO_RECONNECT)


def test_what_the_last_sample_saw_otherwise_is_left() -> None:
    rows = dict(held({("slave1", SITES): V.HUNG}).rows)
    rows["slave1", SITES] = Row(V.HUNG, NOW, sign=Sign(V.OK, 1, NOW))
    assert not plan_repair(WATCHED, Watch(rows), sample())
    rows = dict(held({("slave1", SITES): V.HUNG}).rows)
    rows["nfs1", "server"] = Row(V.OK, NOW, sign=Sign(V.HUNG, 1, NOW))
    assert not plan_repair(WATCHED, Watch(rows), HANGING)


def test_a_node_that_a_killed_run_left_drained_is_only_started() -> None:
    drained = on("slave2", lambda sight: replace(sight, drained=("php8.2-fpm",)))
    repair = plan({}, drained)
    assert [(node.host, node.remounts) for node in repair.repairs] == [("slave2", ())]
    assert "start it" in str(repair)
    # check-share told of it.
    known = plan({("slave2", SITES): V.DRAINED, ("slave2", PLATFORMS): V.DRAINED}, drained)
    assert (known.repairs, known.left) == (repair.repairs, ())
    # Not while it still sees the wrong thing and nothing can be done about that.
    denied = plan({("slave2", SITES): V.DENIED, ("slave2", PLATFORMS): V.DRAINED}, drained)
    assert not denied
    assert [left[2] for left in denied.left] == ["DRAINED", "DENIED"]


def test_what_could_not_be_mended_before_comes_last() -> None:
    away = {("slave1", SITES): V.NOT_MOUNTED, ("slave2", SITES): V.NOT_MOUNTED}
    drained = on("slave1 master1", lambda sight: replace(sight, drained=("php8.2-fpm",)))
    assert [repair.host for repair in plan(away).repairs] == ["slave1", "slave2"]
    # One that is only to be started costs nobody anything.
    assert [repair.host for repair in plan(away, drained).repairs] == ["master1", "slave2", "slave1"]


def test_nothing_is_mounted_from_a_server_that_does_not_answer() -> None:
    for verdict in (V.NOT_MOUNTED, V.WRONG_SERVER, V.STALE, V.HUNG):
        silent = plan({("slave1", SITES): verdict}, on("slave1", lambda sight: replace(sight, null=SILENT)))
        assert not silent
        assert "does not answer this node" in silent.left[0][3]


@given(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(Verdict)), st.booleans())
def test_of_a_share_that_others_move_nothing_is_mounted_anew(
    changes: dict[tuple[str, str], Verdict], answers: bool
) -> None:
    seen = sample() if answers else on("master1 slave1 slave2", cut_off)
    repair = plan_repair(EXTERNAL, held(changes), seen)
    assert not any(node.remounts for node in repair.repairs)
    assert {node.host for node in repair.repairs if node.drains} == {
        host for (host, _), verdict in changes.items() if verdict is V.HUNG
    }
    assert {left[:2] for left in repair.left} == {
        key for key, verdict in changes.items() if not verdict.healthy
    }


def test_what_waits_for_a_cluster_is_drained_once_and_started_when_that_is_back() -> None:
    drained = on("slave1", lambda sight: replace(cut_off(sight), drained=("php8.2-fpm",)))
    assert not plan_repair(EXTERNAL, held({("slave1", SITES): V.HUNG}), drained)
    back = on("slave1", lambda sight: replace(sight, drained=("php8.2-fpm",)))
    (node,) = plan_repair(EXTERNAL, held({}), back).repairs
    assert (node.host, node.drains, node.remounts) == ("slave1", False, ())


@given(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(Verdict)), st.booleans())
def test_a_mount_that_is_ok_is_never_touched(changes: dict[tuple[str, str], Verdict], answers: bool) -> None:
    seen = sample() if answers else on("master1 slave1 slave2", cut_off)
    repair = plan(changes, seen)
    touched = {(node.host, one.mount.point): one for node in repair.repairs for one in node.remounts}
    for key in KEYS:
        verdict = changes.get(key, V.OK)
        helps = answers and verdict in {V.STALE, V.NOT_MOUNTED, V.WRONG_SERVER, V.HUNG}
        assert (key in touched) == helps
        named = any(left[:2] == key for left in repair.left)
        assert named == (not helps and not verdict.healthy)
    # One node at a time, each once.
    hosts = [node.host for node in repair.repairs]
    assert len(hosts) == len(set(hosts))
    assert all(set(row) == {"order", "machine", "step"} for row in repair.as_rows())
    assert bool(repair) == bool(touched)
