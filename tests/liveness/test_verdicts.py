"""One mount, one verdict: each fault that can be seen, and which of two comes first."""

from dataclasses import replace

import pytest

from tasks.fleet import PLATFORMS, SITES
from tasks.liveness.quorum import find_all
from tasks.liveness.values import Ids, Owner, PathSight, Sight, Step, Verdict
from tasks.liveness.verdicts import find_mount
from tests.liveness.scene import (
    CODE,
    DATA,
    HANGS,
    SERVER,
    WATCHED,
    Damage,
    at,
    entry,
    failing,
    mounted,
    node_sight,
    on,
    path,
    sample,
    server_sight,
)

HERE = f"{SERVER.address}:"
V = Verdict


def both(*damages: Damage) -> Damage:
    def damage(sight: Sight) -> Sight:
        for each in damages:
            sight = each(sight)
        return sight

    return damage


FAULTS = {
    "nothing is wrong": (SITES, lambda sight: sight, V.OK),
    "it is slow": (SITES, at(SITES, path(write=Step("ok", 1.4))), V.SLOW),
    "it hangs": (SITES, at(SITES, HANGS), V.HUNG),
    "it gives up by itself": (PLATFORMS, at(PLATFORMS, failing("lookup", "ETIMEDOUT")), V.HUNG),
    "it ended halfway": (SITES, at(SITES, PathSight({"root": Step("ok", 0.1, ("5000",))})), V.HUNG),
    "its directory was made anew": (PLATFORMS, at(PLATFORMS, failing("root", "ESTALE")), V.STALE),
    "stale when it is written": (SITES, at(SITES, failing("write", "ESTALE")), V.STALE),
    "another server": (
        SITES,
        mounted(entry(SITES, f"192.0.2.62:{DATA}", addr="192.0.2.62")),
        V.WRONG_SERVER,
    ),
    "another path": (SITES, mounted(entry(SITES, f"{HERE}/srv/other")), V.WRONG_SERVER),
    "the name, another address": (
        SITES,
        mounted(entry(SITES, f"{HERE}{DATA}", addr="192.0.2.62")),
        V.WRONG_SERVER,
    ),
    "a disk of its own": (SITES, mounted(entry(SITES, "/dev/sdb1", fstype="ext4")), V.WRONG_SERVER),
    "of two, the upper one": (
        SITES,
        mounted(entry(SITES, f"{HERE}{DATA}"), entry(SITES, "/dev/sdb1", fstype="ext4")),
        V.WRONG_SERVER,
    ),
    "mounted read-only": (SITES, mounted(entry(SITES, f"{HERE}{DATA}", mode="ro")), V.READ_ONLY),
    "exported read-only": (SITES, at(SITES, failing("write", "EROFS")), V.READ_ONLY),
    "the disk is full": (SITES, at(SITES, failing("write", "ENOSPC")), V.READ_ONLY),
    "nothing is mounted": (SITES, mounted(), V.NOT_MOUNTED),
    "its automount waits": (SITES, mounted(entry(SITES, "systemd-1", fstype="autofs")), V.NOT_MOUNTED),
    "not let in": (SITES, at(SITES, failing("write", "EACCES")), V.DENIED),
    "another user": (SITES, lambda sight: replace(sight, ids=Ids(5001, 5000, 33)), V.IDMAP_MISMATCH),
    "another web group": (PLATFORMS, lambda sight: replace(sight, ids=Ids(5000, 5000, 34)), V.IDMAP_MISMATCH),
    "everything is nobody's": (
        PLATFORMS,
        at(PLATFORMS, path(root=Step("ok", 0.1, ("65534", "65534", "0755")))),
        V.IDMAP_MISMATCH,
    ),
    "the probe cannot run": (SITES, at(SITES, PathSight(unable="no space left on device")), V.UNSEEN),
    # Which of two comes first: what explains the other.
    "the wrong server hangs": (
        SITES,
        both(at(SITES, HANGS), mounted(entry(SITES, f"192.0.2.62:{DATA}"))),
        V.WRONG_SERVER,
    ),
    "another user, so not let in": (
        SITES,
        both(at(SITES, failing("write", "EACCES")), lambda sight: replace(sight, ids=Ids(5001, 5001, 33))),
        V.IDMAP_MISMATCH,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_its_verdict(fault: str) -> None:
    point, damage, verdict = FAULTS[fault]
    found = find_all(WATCHED, on("slave1", damage))
    assert found["slave1", point].verdict is verdict, found["slave1", point].detail
    assert found["slave1", point].detail


@pytest.mark.parametrize("fault", FAULTS)
def test_it_is_the_fault_of_that_node_alone(fault: str) -> None:
    found = find_all(WATCHED, on("slave1", FAULTS[fault][1]))
    assert {key: one.verdict for key, one in found.items() if key[0] != "slave1"} == {
        key: V.OK for key in found if key[0] != "slave1"
    }


def test_what_a_node_writes_belongs_to_the_same_user_on_the_server() -> None:
    squashed = replace(server_sight(), owners=(Owner(DATA, "slave1", 65534, 65534),))
    found = find_all(WATCHED, sample(server=squashed))
    assert found["slave1", SITES].verdict is V.IDMAP_MISMATCH
    assert "65534" in found["slave1", SITES].detail
    assert found["slave1", PLATFORMS].verdict is V.OK
    assert found["slave2", SITES].verdict is V.OK


def test_a_directory_that_was_removed_and_is_still_answered_from() -> None:
    """nfsd holds on to it, so that nothing that a node asks for fails."""
    ghost = at(PLATFORMS, path(root=Step("ok", 0.1, ("5000", "5000", "0755", "12"))))
    found = find_all(WATCHED, on("slave1", ghost))
    assert found["slave1", PLATFORMS].verdict is V.STALE
    assert "inode 12, now 16385" in found["slave1", PLATFORMS].detail
    assert find_all(WATCHED, on("slave1", ghost, server=None))["slave1", PLATFORMS].verdict is V.OK


@pytest.mark.parametrize(
    ("read", "verdict"),
    [
        ("token epoch 5 on nfs1 ", V.OK),
        ("token epoch 4 on nfs1 ", V.WRONG_SERVER),
        ("token epoch 5 on nfs2 ", V.WRONG_SERVER),
        ("none", V.WRONG_SERVER),
    ],
)
def test_a_node_has_to_read_the_token_of_server_and_epoch(read: str, verdict: V) -> None:
    (mount,) = (mount for mount in WATCHED.members[1].mounts if mount.point == SITES)
    seen = at(SITES, path(token=Step("ok", 0.1, (read,))))(node_sight())
    watched = replace(WATCHED, token="epoch 5 on nfs1")
    assert find_mount(watched, "slave1", mount, seen, None).verdict is verdict
    assert find_mount(WATCHED, "slave1", mount, seen, None).verdict is V.OK


def test_a_token_of_another_server_is_noticed() -> None:
    """The same address and path may be answered by another machine."""
    there = {CODE: path(), DATA: path(token=Step("ok", 0.1, ("token epoch-4",)))}
    seen = sample(server=replace(server_sight(), paths=there))
    found = find_all(
        WATCHED,
        replace(seen, nodes=on("slave1", at(SITES, path(token=Step("ok", 0.1, ("token epoch-3",))))).nodes),
    )
    assert found["slave1", SITES].verdict is V.WRONG_SERVER
    assert "epoch-3" in found["slave1", SITES].detail


def test_a_node_that_cannot_be_asked_is_unseen_and_nothing_else() -> None:
    nodes = {"master1": node_sight("master1"), "slave2": node_sight("slave2")}
    found = find_all(WATCHED, sample(nodes=nodes, unseen={"slave1": "slave1 cannot be reached"}))
    assert found["slave1", SITES].verdict is V.UNSEEN
    assert found["slave1", SITES].detail == "slave1 cannot be reached"
    assert found["nfs1", "server"].verdict is V.OK


def test_without_a_look_into_the_server_the_node_says_whose_files_are_whose() -> None:
    found = find_all(WATCHED, sample(server=None))
    assert {one.verdict for one in found.values()} == {V.OK}
    foreign = on("slave1", lambda sight: replace(sight, ids=Ids(5001, 5001, 33)), server=None)
    assert find_all(WATCHED, foreign)["slave1", SITES].verdict is V.IDMAP_MISMATCH
