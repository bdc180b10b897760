"""check-share tells once what changed, and repair-share mends what mounting can mend, on real machines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blocks import NfsServer, Pack, Share, WebServer
from flows.check_share import check_share
from flows.repair_share import repair_share
from tasks.fleet import PLATFORMS, SITES
from tasks.liveness import Verdict
from tests.nodes.children import running
from tests.nodes.fleet import change_nothing, fail, fleet, saved, succeed, wait_until
from tests.nodes.shares import DISK, SHARE, WORKS, Watching, watching

__all__ = ["fleet", "watching"]

ROOT = Path(__file__).resolve().parents[2]
V = Verdict
EXTERNAL, BUDGET = "watched-external", 45
NEW = "watched-later"
MOUNTED = "grep ' nfs4 ' /proc/self/mountinfo | sort"
# Ten where each machine has a processor of its own; here two cores are shared by all of the bed.
HUNG_SECONDS = 15.0
CODE, DATA = f"{DISK}/{SHARE}/platforms", f"{DISK}/{SHARE}/sites"
DRAINED = "/run/packmaster/drained"
PHP = "systemctl is-active php8.2-fpm"


def check(watching: Watching, share: str = SHARE) -> Any:
    return check_share(share=Share.load(share), return_state=True)


def held(watching: Watching, share: str = SHARE) -> dict[tuple[str, str], str]:
    rows = watching.fleet.table(f"share-{share}")
    return {(row["machine"], row["mount"]): row["verdict"] for row in rows}


def told(watching: Watching, share: str = SHARE) -> list[str]:
    """The names of all events about the share, oldest first."""
    wanted = {"resource": {"id": [f"packmaster.share.{share}"]}}
    answer = watching.fleet.api.post("/events/filter", json={"filter": wanted, "limit": 50})
    events = sorted(answer.json()["events"], key=lambda event: event["occurred"])
    return [event["event"].removeprefix("packmaster.share.") for event in events]


def await_told(watching: Watching, expected: list[str], share: str = SHARE) -> None:
    """Events are recorded with a delay: these come, and a second later there is still no other one."""
    wait_until(lambda: len(told(watching, share)) >= len(expected), 180)
    time.sleep(1)
    assert told(watching, share) == expected


def await_well(watching: Watching) -> None:
    wait_until(lambda: check(watching).is_completed(), 180)


def mount_ids(watching: Watching, name: str) -> dict[str, str]:
    """The kernel's number of each mount; the number of one that is gone may be given to the next."""
    lines = watching.bed.guest(name, "cat /proc/self/mountinfo").splitlines()
    return {line.split()[4]: line.split()[0] for line in lines if "/var/aegir" in line}


def php(watching: Watching, name: str) -> str:
    return watching.bed.guest(name, f"{PHP}; systemctl show -P MainPID php8.2-fpm", check=False)


@pytest.fixture(autouse=True)
def whole_again(watching: Watching) -> Iterator[None]:
    yield
    watching.bed.mend()
    watching.release_locks()


@pytest.fixture
def external(watching: Watching) -> Share:
    """The same directories, as a share that others move to another server when they have to."""
    share = Share(
        server=NfsServer.load("nfs1"),
        mode="external",
        address=watching.bed.addresses["nfs1"],
        code_path=CODE,
        data_path=DATA,
        failover_seconds=BUDGET,
    )
    registered: Share = saved(share, EXTERNAL)
    saved(Pack(master=WebServer.load("master1"), slaves=["slave1", "slave2"], share=registered), EXTERNAL)
    return registered


@pytest.fixture
def wrong_server(watching: Watching) -> Iterator[str]:
    """The address of nfs2, which lets slave1 mount a directory that has the share's path."""
    guest, client = watching.bed.guest, watching.bed.addresses["slave1"]
    guest(
        "nfs2",
        f"mkdir -p {DATA} /etc/exports.d; chown 5000:5000 {DATA}; "
        f"echo '{DATA} {client}(rw,sync,no_subtree_check)' >/etc/exports.d/bed.exports; "
        "systemctl start nfs-server; exportfs -r",
    )
    yield watching.bed.addresses["nfs2"]
    guest("nfs2", "systemctl stop nfs-server; rm -rf /etc/exports.d /srv/packmaster")


def test_a_share_that_was_never_provisioned_is_nobodys_alarm(watching: Watching) -> None:
    fleet = watching.fleet
    master, slave = fleet.names[:2]
    server = saved(NfsServer(**watching.bed.place("nfs2", fleet.credentials)), "nfs2")
    share = saved(Share(server=server, disk=DISK), NEW)
    saved(Pack(master=WebServer.load(master), slaves=[slave], share=share), NEW)
    for _ in range(2):
        state = check(watching, NEW)
        assert state.is_completed(), state.message
        assert "run provision-pack" in state.message
    assert fleet.api.get(f"/artifacts/share-{NEW}/latest").status_code == 404
    assert told(watching, NEW) == []
    Pack.unregister(NEW)


def test_the_servers_power_fails_and_comes_back(watching: Watching, external: Share) -> None:
    await_well(watching)
    assert set(held(watching).values()) <= WORKS
    before = told(watching)
    watching.bed.power_off("nfs1")
    began = time.monotonic()
    state = check(watching)
    took = time.monotonic() - began
    assert state.is_failed()
    assert "nfs1 server is HUNG; 7 more because of it" in state.message
    assert set(held(watching).values()) == {"HUNG"}
    assert {row["because of"] for row in watching.fleet.table(f"share-{SHARE}")} == {"", "nfs1"}
    assert took < HUNG_SECONDS, f"{took:.1f} s until it was known"
    # In the other mode it is given its time, and then it is an alarm.
    assert check(watching, EXTERNAL).is_completed()
    assert set(held(watching, EXTERNAL).values()) == {"FAILING_OVER"}
    assert check(watching).is_failed()
    change_nothing(repair_share, share=external)
    time.sleep(max(0.0, BUDGET + took + 3 - (time.monotonic() - began)))
    assert check(watching, EXTERNAL).is_failed()
    assert held(watching, EXTERNAL)["nfs1", "server"] == "HUNG"
    # Nobody waits any more for what hangs; nothing is mounted anew, or torn away.
    mounts = {name: watching.bed.guest(name, MOUNTED) for name in watching.nodes}
    assert "server is HUNG" in fail(repair_share, share=external)
    assert all("fpm" in watching.bed.guest(name, "cat /run/packmaster/drained") for name in watching.nodes)
    assert {name: watching.bed.guest(name, MOUNTED) for name in watching.nodes} == mounts
    await_told(watching, [*before, "unhealthy"])
    assert "its server does not answer" in fail(repair_share, share=watching.share)
    watching.bed.power_on("nfs1")
    wait_until(lambda: not watching.wrong(), 180)
    assert len(succeed(repair_share, share=external).changed) == len(watching.nodes)
    assert not any(watching.bed.guest(name, "cat /run/packmaster/drained || :") for name in watching.nodes)
    await_well(watching)
    assert set(held(watching).values()) <= WORKS
    await_told(watching, [*before, "unhealthy", "recovered"])
    assert told(watching, EXTERNAL) == ["failing_over", "unhealthy"]
    assert check(watching, EXTERNAL).is_completed()
    Pack.unregister(EXTERNAL)


def test_a_directory_is_removed_and_made_again_under_its_clients(watching: Watching) -> None:
    await_well(watching)
    watching.bed.guest("nfs1", f"rm -rf {CODE}; mkdir -m 0755 {CODE}; chown aegir: {CODE}")
    watching.look_until({(name, PLATFORMS): V.STALE for name in watching.nodes})
    before = {name: (mount_ids(watching, name), php(watching, name)) for name in watching.nodes}
    made_anew = watching.bed.guest("nfs1", f"stat -c %i {CODE}")
    dry = succeed(repair_share, share=watching.share, dry_run=True)
    assert not dry.changed
    assert {name: (mount_ids(watching, name), php(watching, name)) for name in watching.nodes} == before
    outcomes = succeed(repair_share, share=watching.share)
    assert [o.host for o in outcomes.changed if o.step == "mount anew"] == list(watching.nodes)
    for name in watching.nodes:
        after, fpm = mount_ids(watching, name), php(watching, name)
        # What was well was not touched; php-fpm is another process.
        assert after[SITES] == before[name][0][SITES]
        assert watching.bed.guest(name, f"stat -c %i {PLATFORMS}") == made_anew
        assert fpm.startswith("active")
        assert fpm != before[name][1]
    change_nothing(repair_share, share=watching.share)


def test_no_mount_is_torn_off_while_the_servers_disk_is_frozen(watching: Watching) -> None:
    """nfsd answers the nodes meanwhile, and what they wrote is written when the disk goes on."""
    await_well(watching)
    before = {name: (mount_ids(watching, name), php(watching, name)) for name in watching.nodes}
    written = f"{SITES}/written-meanwhile"
    # Enough of them that some are left to answer while the others wait for the disk.
    threads = watching.bed.guest("nfs1", "cat /proc/fs/nfsd/threads; echo 64 >/proc/fs/nfsd/threads").strip()
    watching.bed.guest("nfs1", f"fsfreeze -f {DISK}")
    try:
        watching.bed.guest(
            "slave1", f"setsid su -s /bin/sh aegir -c 'echo kept >{written}' >/dev/null 2>&1 </dev/null &"
        )
        fail(repair_share, share=watching.share)
        lines = watching.fleet.lines(f"outcome-repair-{SHARE}")
        left = [line for line in lines if f"{SITES} is HUNG: its server is HUNG: see to that first" in line]
        assert {line.split()[0] for line in left} == set(watching.nodes), lines
        assert {name: (mount_ids(watching, name), php(watching, name)) for name in watching.nodes} == before
        # Each of them would have been mounted anew by force: its server answers it.
        watching.look()
        assert all(watching.sample.nodes[name].null.ok for name in watching.nodes)
    finally:
        watching.bed.guest("nfs1", f"fsfreeze -u {DISK}")
        watching.bed.guest("nfs1", f"echo {threads} >/proc/fs/nfsd/threads", check=False)
    wait_until(lambda: watching.bed.guest("slave2", f"cat {written}", check=False) == "kept\n", 180)
    # Root is nobody on the share.
    watching.bed.guest("slave1", f"su -s /bin/sh aegir -c 'rm -f {written}'")


def test_the_wrong_server_and_somebody_who_uses_it(watching: Watching, wrong_server: str) -> None:
    """It may be written to, so it is not taken away by force: whoever it is is named."""
    guest = watching.bed.guest
    guest("slave1", f"systemctl stop php8.2-fpm; umount {SITES}; systemctl start php8.2-fpm")
    guest("slave1", f"mount -t nfs -o vers=4.2,hard,retry=0 {wrong_server}:{DATA} {SITES}")
    guest("slave1", f"(cd {SITES} && exec setsid sleep 300) >/dev/null 2>&1 </dev/null &")
    guest("slave2", f"systemctl stop php8.2-fpm; umount {SITES}; systemctl start php8.2-fpm")
    try:
        watching.look_until({("slave1", SITES): V.WRONG_SERVER, ("slave2", SITES): V.NOT_MOUNTED})
        before = {name: (mount_ids(watching, name), php(watching, name)) for name in ("master1", "slave2")}
        said = fail(repair_share, share=watching.share)
        assert "stays mounted" in said
        # One that stays drained is enough: the next would perhaps go the same way.
        assert "slave1 stays drained" in said
        assert any("(sleep)" in line for line in watching.fleet.lines(f"outcome-repair-{SHARE}"))
        assert php(watching, "slave1").startswith("inactive")
        assert {
            name: (mount_ids(watching, name), php(watching, name)) for name in ("master1", "slave2")
        } == before
    finally:
        guest("slave1", "pkill -x sleep", check=False)
    succeed(repair_share, share=watching.share)
    change_nothing(repair_share, share=watching.share)
    watching.look_until({})
    assert php(watching, "slave1").startswith("active")


def test_a_server_that_lets_nobody_in_costs_no_node_its_php(watching: Watching) -> None:
    guest = watching.bed.guest
    for name in ("slave1", "slave2"):
        guest(name, f"systemctl stop php8.2-fpm; umount {SITES}; systemctl start php8.2-fpm")
        guest("nfs1", f"exportfs -u {watching.bed.addresses[name]}:{DATA}")
    before = {name: (mount_ids(watching, name), php(watching, name)) for name in watching.nodes}
    try:
        said = fail(repair_share, share=watching.share)
        assert said.count("nothing was stopped or unmounted") == 2, said
        assert {name: (mount_ids(watching, name), php(watching, name)) for name in watching.nodes} == before
    finally:
        guest("nfs1", "exportfs -r")
    succeed(repair_share, share=watching.share)
    change_nothing(repair_share, share=watching.share)
    watching.look_until({})


def test_a_repair_is_killed_between_its_steps(watching: Watching) -> None:
    guest = watching.bed.guest
    guest("slave2", f"systemctl stop php8.2-fpm; umount {SITES} {PLATFORMS}; systemctl start php8.2-fpm")
    watching.look_until({("slave2", SITES): V.NOT_MOUNTED, ("slave2", PLATFORMS): V.NOT_MOUNTED})
    with running("repair_share", share=watching.share) as child:
        guest("slave2", f"until [ -s {DRAINED} ]; do sleep 0.05; done")
        child.kill()
    watching.release_locks()
    succeed(repair_share, share=watching.share)
    change_nothing(repair_share, share=watching.share)
    watching.look_until({})
    # Killed after the last mount, before php-fpm was started: its note says what ran.
    guest("slave2", f"systemctl stop php8.2-fpm; echo php8.2-fpm >{DRAINED}")
    assert "slave2" in fail(check_share, share=watching.share)
    left = {key: verdict for key, verdict in held(watching).items() if verdict not in WORKS}
    assert left == {("slave2", SITES): "DRAINED", ("slave2", PLATFORMS): "DRAINED"}
    outcomes = succeed(repair_share, share=watching.share)
    assert [(o.host, o.step) for o in outcomes.changed] == [("slave2", "resume")]
    assert php(watching, "slave2").startswith("active")
    assert guest("slave2", f"ls {DRAINED}", check=False) == ""
    change_nothing(repair_share, share=watching.share)
    await_well(watching)


def test_a_check_is_killed_and_nothing_is_told_twice(watching: Watching) -> None:
    await_well(watching)
    before = told(watching)
    watching.bed.drop_port("nfs1", 2049, watching.bed.addresses["slave1"])
    with running("check_share", share=watching.share) as child:
        time.sleep(4)
        child.kill()
    assert "slave1" in fail(check_share, share=watching.share)
    fail(check_share, share=watching.share)
    watching.bed.mend()
    await_well(watching)
    await_told(watching, [*before, "unhealthy", "recovered"])
