"""A pack that shares over NFS lives on: after boots and kills, when a node leaves, when its master serves."""

from __future__ import annotations

import pytest

from flows.locks import lock_name
from flows.provision_pack import provision_pack
from tests.nodes.children import running
from tests.nodes.fleet import bury_runs, change_nothing, free_lock, open_api, succeed, wait_until
from tests.nodes.machines import PackBed
from tests.nodes.nfs_pack import CODE, DATA, NfsPack, clear, register_own_server
from tests.nodes.provided import NODES, OURS, pack, provided

__all__ = ["pack", "provided"]

RESTLESS = (
    "while (1) { open F, q(<), @ARGV; select undef, undef, undef, .5 + rand; "
    "close F; select undef, undef, undef, .1 }"
)
# A server's boot, its next try by the client's unit, and both on a share of two cores.
BACK_SECONDS = 300


def all_mounted(pack: NfsPack, *names: str) -> bool:
    return all(set(pack.mounts(name)) == {CODE, DATA} for name in names)


def test_all_machines_reboot_at_once_and_everything_is_back(
    provided: NfsPack, breakable_pack: PackBed
) -> None:
    breakable_pack.guest("master1", f"su aegir -s /bin/sh -c 'echo kept >{DATA}/kept'")
    breakable_pack.reboot("nfs1", "nfs2", "master1", "slave1", "slave2")
    wait_until(lambda: all_mounted(provided, *NODES), BACK_SECONDS)
    # The standby, too, which looks at its server before it may do anything.
    assert breakable_pack.guest("nfs2", "cat /var/lib/nfs/etab /etc/exports.d/* 2>/dev/null || :") == ""
    assert breakable_pack.guest("slave2", f"cat {DATA}/kept") == "kept\n"
    assert not provided.plan()


def test_a_client_that_boots_without_its_server_mounts_when_that_comes(
    provided: NfsPack, breakable_pack: PackBed
) -> None:
    breakable_pack.power_off("nfs1")
    breakable_pack.reboot("slave1")
    assert provided.mounts("slave1") == {}
    assert breakable_pack.guest("slave1", f"stat -c %U:%a {CODE}") == "root:555\n", "nobody writes beneath"
    breakable_pack.power_on("nfs1")
    wait_until(lambda: all_mounted(provided, *NODES), BACK_SECONDS)
    # Those that were up meanwhile go on where they were.
    breakable_pack.guest("master1", f"su aegir -s /bin/sh -c 'echo again >{DATA}/kept'", timeout=120)
    assert breakable_pack.guest("slave1", f"cat {DATA}/kept") == "again\n"
    assert not provided.plan()


def test_a_node_is_taken_out_and_nothing_of_the_share_is_left_on_it(provided: NfsPack) -> None:
    bed = provided.bed
    # Who holds a mount most of the time and lets it go in between is not in the way.
    bed.guest("slave2", f"nohup perl -e '{RESTLESS}' {DATA}/kept >/dev/null 2>&1 &")
    # The table of exports cannot be replaced: what is exported on is said, and not that it was taken back.
    bed.guest("nfs1", "mount --bind /var/lib/nfs/etab /var/lib/nfs/etab")
    try:
        outcomes = provided.withdraw("nfs-slave2")
        assert {outcome.host for outcome in outcomes.failed} == {"nfs-nfs1"}, outcomes
        assert bed.addresses["slave2"] in bed.guest("nfs1", "cat /var/lib/nfs/etab")
    finally:
        bed.guest("nfs1", "umount /var/lib/nfs/etab")
        bed.guest("slave2", "pkill -x perl")
    outcomes = provided.withdraw("nfs-slave2")
    assert not outcomes.failed, outcomes.failed
    assert provided.mounts("slave2") == {}
    assert "packmaster" not in bed.guest(
        "slave2", "cat /etc/fstab; ls /etc/systemd/system /usr/local/sbin"
    ).replace("packmaster-test-config", "")
    assert bed.addresses["slave2"] not in bed.guest("nfs1", f"exportfs -s; cat {OURS}")
    assert bed.guest("slave1", f"cat {DATA}/kept") == "again\n"
    assert not provided.withdraw("nfs-slave2").changed


@pytest.mark.parametrize(
    ("machine", "moment"),
    [
        ("nfs1", "grep -q {slave} " + OURS),
        ("slave2", f"grep -q {CODE} /proc/self/mountinfo"),
    ],
    ids=["exported", "mounted"],
)
def test_a_run_that_is_killed_is_finished_by_the_next(
    provided: NfsPack, machine: str, moment: str, prefect_server: str
) -> None:
    if provided.mounts("slave2"):
        provided.withdraw("nfs-slave2")
    condition = moment.format(slave=provided.bed.addresses["slave2"])
    with running("provision_pack", pack=provided.pack) as child:
        provided.bed.guest(machine, f"until {condition}; do sleep 0.02; done", timeout=120)
        child.kill()
    names = [lock_name("server", name) for name in (f"nfs-{m}" for m in ("nfs1", "nfs2", *NODES))]
    with open_api(prefect_server) as api:
        bury_runs(api)
        for name in [*names, lock_name("share", "nfs-share")]:
            free_lock(api, name)
    succeed(provision_pack, pack=provided.pack)
    assert all_mounted(provided, *NODES)
    assert not provided.plan()


def test_a_master_may_be_the_server_and_sees_its_own_directories(
    pack: NfsPack, breakable_pack: PackBed
) -> None:
    """Without a disk of its own, and with a package missing."""
    clear(breakable_pack)
    own = register_own_server(breakable_pack)
    succeed(provision_pack, pack=own.pack)
    roots = breakable_pack.guest("master1", "grep ' /var/aegir/' /proc/self/mountinfo | cut -d ' ' -f 4")
    assert set(roots.split()) == {"/srv/packmaster/nfs-own/platforms", "/srv/packmaster/nfs-own/sites"}
    assert all(" ext4 " in mount for mount in own.mounts("master1").values())
    assert " nfs4 " in own.mounts("slave1")[CODE]
    assert breakable_pack.addresses["master1"] not in breakable_pack.guest(
        "master1", "exportfs -s | cut -d '(' -f 1"
    )
    with own.untouched():
        change_nothing(provision_pack, pack=own.pack)
    breakable_pack.guest("slave1", f"su aegir -s /bin/sh -c 'echo from-slave >{DATA}/x'")
    breakable_pack.reboot("master1", "slave1")
    wait_until(lambda: all_mounted(own, "master1", "slave1"), 180)
    assert breakable_pack.guest("master1", f"cat {DATA}/x") == "from-slave\n"
    assert not own.plan()
    clear(breakable_pack)
