"""A server is down only when the controller and a majority of the clients say so."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tasks.fleet import PLATFORMS, SITES
from tasks.liveness.quorum import find_all, is_agreed, is_down, mark_left_behind
from tasks.liveness.values import Sample, Sight, Step, Verdict
from tasks.nfs.exports import Export
from tests.liveness.scene import (
    CODE,
    DATA,
    HANGS,
    NODES,
    REFUSED,
    SILENT,
    WATCHED,
    WELL,
    at,
    cut_off,
    failing,
    on,
    path,
    sample,
    server_sight,
)

NAMES = [node.name for node in NODES]
SERVER, PATH = ("nfs1", "server"), ("controller", "path to the server")
V = Verdict


def test_all_is_well() -> None:
    found = find_all(WATCHED, sample())
    assert {one.verdict for one in found.values()} == {V.OK}
    assert "8 nfsd threads" in found[SERVER].detail
    assert len(found) == 2 + 2 * len(NAMES)


def test_a_server_without_power_is_down() -> None:
    found = find_all(WATCHED, on("master1 slave1 slave2", cut_off, controller=SILENT, server=None))
    assert {one.verdict for one in found.values()} == {V.HUNG}


def test_what_most_clients_cannot_be_asked_about_is_not_agreed_on() -> None:
    seen = on("master1 slave1 slave2", cut_off, controller=SILENT, server=None)
    assert is_agreed(WATCHED, seen)
    for missing, agreed in (("slave2",), True), (("slave1", "slave2"), False):
        few = replace(seen, nodes={name: sight for name, sight in seen.nodes.items() if name not in missing})
        assert is_down(WATCHED, few)
        assert is_agreed(WATCHED, few) is agreed
    # One that is slow to look into itself, and answers everybody, is not down.
    slow = sample(server=replace(server_sight(), paths={CODE: HANGS, DATA: HANGS}))
    assert find_all(WATCHED, slow)[SERVER].verdict is V.HUNG
    assert not is_down(WATCHED, slow)


def test_a_controller_that_is_cut_off_says_so_of_itself() -> None:
    found = find_all(WATCHED, sample(controller=SILENT, server=None, unseen={"nfs1": "no route to host"}))
    assert found[SERVER].verdict is V.OK
    assert found[PATH].verdict is V.HUNG
    assert "my path" in found[PATH].detail
    assert {one.verdict for key, one in found.items() if key != PATH} == {V.OK}


def test_a_client_that_is_cut_off_is_that_clients_trouble() -> None:
    found = find_all(WATCHED, on("slave1", cut_off))
    assert found[SERVER].verdict is V.OK
    assert "slave1 cannot reach it" in found[SERVER].detail
    assert found["slave1", SITES].verdict is V.HUNG


def test_a_controller_alone_does_not_declare_a_server_dead() -> None:
    found = find_all(WATCHED, sample(controller=SILENT, nodes={}, server=None))
    assert found[SERVER].verdict is V.UNSEEN


def test_a_client_whose_mount_answers_is_a_witness() -> None:
    """New connections are rejected, and the one that it has still works."""
    firewalled = on("master1 slave1 slave2", lambda sight: replace(sight, null=REFUSED), controller=REFUSED)
    assert find_all(WATCHED, firewalled)[SERVER].verdict is V.OK


def test_what_is_wrong_inside_of_a_server_that_answers() -> None:
    well = server_sight()
    for damaged, verdict in (
        (replace(well, mounts=()), V.NOT_MOUNTED),
        (replace(well, threads=0), V.HUNG),
        (replace(well, paths={**well.paths, DATA: failing("root", "ENOENT")}), V.NOT_MOUNTED),
        (replace(well, paths={**well.paths, DATA: HANGS}), V.HUNG),
        (replace(well, paths={**well.paths, CODE: failing("write", "EROFS")}), V.READ_ONLY),
        (replace(well, paths={**well.paths, DATA: failing("write", "ENOSPC")}), V.READ_ONLY),
        (replace(well, exports=well.exports[1:]), V.DENIED),
        (
            replace(
                well,
                exports=(
                    replace(well.exports[0], options=(*well.exports[0].options, "no_root_squash")),
                    *well.exports[1:],
                ),
            ),
            V.DENIED,
        ),
    ):
        found = find_all(WATCHED, sample(server=damaged))[SERVER]
        assert found.verdict is verdict, found.detail


def test_a_node_that_was_left_drained_is_told_of() -> None:
    """Its mounts are well, so that nothing else would say that it serves nobody."""

    def stopped(sight: Sight) -> Sight:
        return replace(sight, drained=("php8.2-fpm",))

    seen = on("slave1", stopped)
    found = find_all(WATCHED, seen)
    assert mark_left_behind(WATCHED, sample(), found) == found
    marked = mark_left_behind(WATCHED, seen, found)
    assert {key for key, one in marked.items() if one.verdict is not V.OK} == {
        ("slave1", SITES), ("slave1", PLATFORMS),
    }  # fmt: skip
    assert marked["slave1", SITES].verdict is V.DRAINED
    assert not V.DRAINED.healthy
    assert "repair-share" in marked["slave1", SITES].detail
    # A run that is at work may have stopped it for a moment; what was known before stays so.
    assert mark_left_behind(WATCHED, seen, found, ()) == found
    assert mark_left_behind(WATCHED, seen, found, [("slave1", SITES)])["slave1", SITES].verdict is V.DRAINED
    # What hides why it is drained is not hidden.
    hangs = on("slave1", lambda sight: stopped(cut_off(sight)))
    assert mark_left_behind(WATCHED, hangs, find_all(WATCHED, hangs)) == find_all(WATCHED, hangs)


def test_an_export_that_nobody_asked_for_is_told_of() -> None:
    well = server_sight()
    by_hand = Export(DATA, "192.0.2.200", ("rw", "no_root_squash"))
    elsewhere = Export("/home", "192.0.2.200", ("rw",))
    for added, told in (by_hand, True), (replace(by_hand, path=f"{CODE}/blog"), True), (elsewhere, False):
        seen = sample(server=replace(well, exports=(*well.exports, added)))
        found = find_all(WATCHED, seen)
        marked = mark_left_behind(WATCHED, seen, found)
        assert (marked[SERVER].verdict is V.DENIED) == told
        assert ("192.0.2.200" in marked[SERVER].detail) == told
        # add-node exports to one that is not listed yet.
        assert mark_left_behind(WATCHED, seen, found, ()) == found
        assert mark_left_behind(WATCHED, seen, found, [SERVER]) == marked
    # Those who are squashed are made somebody.
    (first, *others) = well.exports
    root = sample(
        server=replace(well, exports=(replace(first, options=(*first.options, "anonuid=0")), *others))
    )
    assert find_all(WATCHED, root)[SERVER].verdict is V.DENIED


def test_a_disk_that_fills_up_is_warned_of() -> None:
    space = Step("ok", 0.1, ("4096", "100000", "50000", "1000", "20"))
    filling = replace(server_sight(), paths={CODE: path(space=space), DATA: path(space=space)})
    detail = find_all(WATCHED, sample(server=filling))[SERVER].detail
    assert "WARNING: 50% of 391 MB and 2% of inodes free" in detail
    assert "not looked" not in detail


def test_a_share_that_names_no_disk_says_what_is_not_looked_at() -> None:
    bare = replace(WATCHED, disk="")
    found = find_all(bare, sample(server=replace(server_sight(), mounts=())))[SERVER]
    assert found.verdict is V.OK
    assert "not looked whether a disk is mounted there" in found.detail


sights = st.sampled_from(["well", "cut off", "unseen"])


@given(st.booleans(), st.lists(sights, min_size=3, max_size=3))
def test_nobody_alone_declares_a_server_dead(controller: bool, states: list[str]) -> None:
    seen = sample()
    nodes = {
        name: cut_off(seen.nodes[name]) if state == "cut off" else seen.nodes[name]
        for name, state in zip(NAMES, states, strict=True)
        if state != "unseen"
    }
    asked = Sample(WELL if controller else SILENT, nodes)
    silent, answering = states.count("cut off"), states.count("well")
    assert is_down(WATCHED, asked) == (not controller and silent > answering)
    found = find_all(WATCHED, asked)
    if controller or answering:
        assert (found[SERVER].verdict is V.HUNG) == is_down(WATCHED, asked)
    # What one observer sees is never put down to another one.
    for name, state in zip(NAMES, states, strict=True):
        expected = {"well": V.OK, "cut off": V.HUNG, "unseen": V.UNSEEN}[state]
        assert {found[name, point].verdict for point in (PLATFORMS, SITES)} == {expected}


def test_one_mount_that_hangs_is_no_server_that_does() -> None:
    found = find_all(WATCHED, on("slave1 slave2", at(SITES, HANGS), controller=SILENT))
    assert found[SERVER].verdict is V.OK
