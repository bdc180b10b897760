"""A site's whole life on a pack, on machines with kernels of their own and real NFS between them."""

from __future__ import annotations

import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from blocks import NfsServer, Pack
from flows.add_node import add_node
from flows.add_site import add_site
from flows.create_platform import create_platform
from flows.deploy_platform import deploy_platform
from flows.locks import lock_name
from flows.provision_pack import provision_pack
from flows.remove_node import remove_node
from flows.remove_platform import remove_platform
from flows.remove_site import remove_site
from flows.rollback_platform import rollback_platform
from flows.verify_platform import verify_platform
from tasks.errors import CommandFailed
from tasks.grants import user_name
from tasks.packs.apply import follow_release
from tests.nodes.children import running
from tests.nodes.fleet import Fleet, change_nothing, fail, fleet, saved, succeed, wait_on, wait_until
from tests.nodes.machines import PackBed
from tests.nodes.packs import (
    EXPORTED,
    MASTER,
    MEGABYTES,
    PLATFORMS,
    SLAVES,
    PackFleet,
    Shop,
    provide,
    register_pack,
)

__all__ = ["fleet"]

PACK, SHOP, SITE, OFF = "packs-farm", "packs-shop", "shop.packs.test", "packs-nfs-off"
# An address that nobody has (RFC 5737).
NOWHERE = "203.0.113.9"


@pytest.fixture(scope="module")
def farm(fleet: Fleet, pack_bed: PackBed) -> PackFleet:
    return provide(register_pack(fleet, pack_bed, PACK))


@pytest.fixture(scope="module")
def shop(farm: PackFleet, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(farm, tmp_path_factory.mktemp("shop"), SHOP, SITE)


def received(fleet: PackFleet, name: str) -> int:
    """The bytes that came to a machine over the network, NFS included."""
    table = fleet.execute(name, "cat", "/proc/net/dev")
    return sum(int(line.split()[1]) for line in table.splitlines() if ":" in line and "lo:" not in line)


def hosts(fleet: PackFleet) -> set[str]:
    return set(fleet.sql(f"SELECT Host FROM mysql.user WHERE User = '{user_name(SITE)}'").split())


def serves(fleet: PackFleet, name: str) -> bool:
    with suppress(OSError):
        return fleet.get(name, SITE).status == 200
    return False


def the_pack() -> Pack:
    return Pack.get(PACK, "a test")


@contextmanager
def standby_that_is_off(fleet: PackFleet) -> Iterator[None]:
    """The pack's share has a standby at which nothing listens."""
    share = the_pack().share
    fields = {field: getattr(share.server, field) for field in ("address", "credentials", "host_keys")}
    share.standby = saved(NfsServer(ssh_port=9, mount_address=NOWHERE, **fields), OFF)
    share.save(PACK, overwrite=True)
    try:
        yield
    finally:
        share.standby = None
        share.save(PACK, overwrite=True)
        fleet.api.delete(f"/v2/concurrency_limits/{lock_name('server', OFF)}")


def test_code_goes_to_the_master_only_and_is_there_once(shop: Shop) -> None:
    fleet, before = shop.fleet, {name: received(shop.fleet, name) for name in SLAVES}
    outcomes = succeed(
        create_platform, platform=SHOP, target=fleet.pack, source=str(shop.source), profile="php"
    )
    came = {name: received(fleet, name) - before[name] for name in SLAVES}
    assert all(count < MEGABYTES << 18 for count in came.values()), came
    by_step = {step: {o.host for o in outcomes.changed if o.step == step} for step in ("stage", "switch")}
    assert by_step == {"stage": {MASTER}, "switch": {MASTER}}
    assert {o.host for o in outcomes.changed if o.step == "follow"} == set(SLAVES)
    assert len(shop.current()) == 1
    assert len(shop.staged()) == 1
    for name in SLAVES:
        said = fleet.execute(name, "touch", f"{PLATFORMS}/{SHOP}/x", check=False)
        assert not said
        assert "x" not in fleet.execute(MASTER, "ls", f"{PLATFORMS}/{SHOP}").split()


def test_a_site_is_served_by_every_node(shop: Shop) -> None:
    fleet = shop.fleet
    outcomes = succeed(add_site, uri=SITE, platform=fleet.platform(SHOP), database=fleet.database)
    assert {o.host for o in outcomes if o.step == "make sites"} == {MASTER}
    assert {o.host for o in outcomes if o.step == "check sites"} == set(fleet.names)
    assert hosts(fleet) == {node.address for node in fleet.nodes}
    shop.check()


@pytest.mark.parametrize("writer", [MASTER, *SLAVES])
def test_what_is_uploaded_through_one_node_is_served_by_all(shop: Shop, writer: str) -> None:
    path = f"/?file=from-{writer}.txt"
    shop.fleet.get(writer, SITE, f"{path}&write=by-{writer}")
    assert shop.fleet.bodies(SITE, path) == [f"by-{writer}"] * 3


def test_second_runs_change_nothing(shop: Shop) -> None:
    fleet = shop.fleet
    with fleet.untouched():
        change_nothing(deploy_platform, **shop.wanted)
        change_nothing(add_site, uri=SITE, database=fleet.database, **shop.wanted)
        change_nothing(verify_platform, **shop.wanted)
        change_nothing(rollback_platform, **shop.wanted, release=fleet.current(MASTER, SHOP))
    # It proves the mounts by files that it writes and takes away, which their directories do not forget.
    change_nothing(add_node, target=the_pack(), server="slave1")


def test_the_next_release_is_seen_at_once_and_so_is_the_way_back(shop: Shop) -> None:
    old = shop.current()
    shop.write()
    outcomes = succeed(deploy_platform, **shop.wanted)
    took = {o.host: o.seconds for o in outcomes if o.step == "follow"}
    # The attribute cache would make it up to 60 s.
    assert set(took) == set(SLAVES)
    assert max(took.values()) < 15, took
    shop.check()
    assert shop.current() != old
    succeed(rollback_platform, **shop.wanted)
    shop.check(number=shop.number - 1)
    assert shop.current() == old
    change_nothing(verify_platform, **shop.wanted)
    succeed(deploy_platform, **shop.wanted)
    shop.check()


def test_a_site_that_breaks_on_the_new_release_goes_back_everywhere(shop: Shop) -> None:
    old = shop.current()
    (shop.source / "index.php").write_text("<?php http_response_code(500);")
    assert "slave1" in fail(deploy_platform, **shop.wanted)
    shop.check()
    assert shop.current() == old
    shop.number -= 1
    shop.write()
    change_nothing(verify_platform, **shop.wanted)


@contextmanager
def slow_reload(fleet: PackFleet, name: str, seconds: int) -> Iterator[None]:
    """The node's php-fpm takes its time, between the switch there and whatever comes after it."""
    script = f'#!/bin/sh\n[ "$1" != reload ] || sleep {seconds}\nexec /usr/bin/systemctl.real "$@"\n'
    fleet.execute(name, "mv", "/usr/bin/systemctl", "/usr/bin/systemctl.real")
    fleet.execute(name, "install", "-m", "755", "/dev/stdin", "/usr/bin/systemctl", stdin=script)
    try:
        yield
    finally:
        fleet.execute(name, "mv", "/usr/bin/systemctl.real", "/usr/bin/systemctl")


def test_a_run_killed_between_the_masters_switch_and_its_slaves(shop: Shop) -> None:
    fleet, old = shop.fleet, shop.fleet.current(MASTER, SHOP)
    shop.write()
    platform = fleet.platform(SHOP)
    with slow_reload(fleet, MASTER, 5), running("deploy_platform", platform=platform) as child:
        wait_on(fleet, MASTER, f'[ "$(readlink {PLATFORMS}/{SHOP}/current)" != releases/{old} ]', 180)
        child.kill()
        time.sleep(8)
    fleet.release_locks()
    outcomes = succeed(deploy_platform, **shop.wanted)
    assert {o.host for o in outcomes.changed if o.step == "follow"} == set(SLAVES)
    assert not [o for o in outcomes.changed if o.step == "switch"]
    shop.check()
    change_nothing(deploy_platform, **shop.wanted)


def test_a_slave_that_never_sees_it_is_given_up_within_its_bound(shop: Shop) -> None:
    node, started = shop.fleet.node("slave1"), time.monotonic()
    with pytest.raises(CommandFailed, match="it sees releases/"):
        follow_release(shop.fleet.admins["slave1"], SHOP, "20200101000000-0123456789ab", seconds=2)
    assert time.monotonic() - started < 10
    assert node.name == "slave1"


def test_code_is_never_staged_into_a_directory_that_is_not_mounted(shop: Shop) -> None:
    fleet, before = shop.fleet, shop.staged()
    shop.write()
    fleet.execute(MASTER, "umount", "-l", PLATFORMS)
    for flow, more in (
        (deploy_platform, shop.wanted),
        (verify_platform, shop.wanted),
        (rollback_platform, shop.wanted),
        (remove_platform, shop.wanted),
        (remove_site, {"site": fleet.site(SITE)}),
        (add_site, {"uri": SITE, "database": fleet.database, **shop.wanted}),
    ):
        said = fail(flow, **more)
        assert f"master1: nothing is mounted at {PLATFORMS}" in said, said
        assert "Run provision-pack" in said
        assert "slave1:" not in said
    assert fleet.execute(MASTER, "ls", "-A", PLATFORMS) == ""
    assert shop.staged() == before
    succeed(provision_pack, pack=fleet.pack)
    succeed(deploy_platform, **shop.wanted)
    shop.check()


def test_a_slave_that_is_down_keeps_the_pack_from_switching(shop: Shop, breakable_pack: PackBed) -> None:
    fleet, old = shop.fleet, shop.fleet.current(MASTER, SHOP)
    shop.write()
    breakable_pack.power_off("slave2")
    said = fail(deploy_platform, **shop.wanted)
    assert "2 node(s) of pack packs-farm can be read and 3 are needed (not read: slave2)" in said
    assert fleet.current(MASTER, SHOP) == old
    shop.check(MASTER, "slave1", number=shop.number - 1)
    said = fail(deploy_platform, **shop.wanted, quorum=2)
    assert "slave2" in said
    assert "slave1" not in said
    shop.check(MASTER, "slave1")
    said = fail(verify_platform, **shop.wanted)
    assert "slave2" in said
    assert hosts(fleet) == {node.address for node in fleet.nodes}
    breakable_pack.power_on("slave2")
    fleet.admins["slave2"].close()
    wait_until(lambda: serves(fleet, "slave2"), 180)
    succeed(verify_platform, **shop.wanted)
    shop.check()
    change_nothing(verify_platform, **shop.wanted)


def test_a_slave_leaves_and_another_joins(shop: Shop) -> None:
    fleet = shop.fleet
    address = fleet.node("slave2").address
    assert "is the master of pack" in fail(remove_node, target=the_pack(), server=MASTER)
    succeed(remove_node, target=the_pack(), server="slave2")
    assert the_pack().slaves == ["slave1"]
    assert "the last slave" in fail(remove_node, target=the_pack(), server="slave1")
    assert fleet.get("slave2", SITE).status == 404
    assert "nfs4" not in fleet.execute("slave2", "cat", "/proc/self/mountinfo")
    assert address not in fleet.execute("nfs1", "exportfs", "-s")
    assert address not in hosts(fleet)
    shop.check(MASTER, "slave1")
    succeed(remove_node, target=the_pack(), server="slave2")
    # Typical after a failover; it is named, and keeps nobody from joining.
    with standby_that_is_off(fleet):
        said = fail(add_node, target=the_pack(), server="slave2")
    assert [line for line in said.splitlines() if OFF not in line] == ["1 host(s) failed:"], said
    assert the_pack().slaves == ["slave1", "slave2"]
    shop.check()
    succeed(remove_node, target=the_pack(), server="slave2")
    outcomes = succeed(add_node, target=the_pack(), server="slave2")
    steps = [outcome.step for outcome in outcomes if outcome.host == "slave2"]
    assert steps.index("follow") < steps.index("check sites") < steps.index("list")
    assert the_pack().slaves == ["slave1", "slave2"]
    assert hosts(fleet) == {node.address for node in fleet.nodes}
    shop.check()
    change_nothing(add_node, target=the_pack(), server="slave2")
    change_nothing(verify_platform, **shop.wanted)


def test_a_site_is_backed_up_and_gone_and_then_its_platform(shop: Shop) -> None:
    fleet = shop.fleet
    fleet.get("slave2", SITE, "/?file=late.txt&write=late")
    succeed(remove_site, site=fleet.site(SITE))
    backups = [path for path in (Path(str(fleet.home)) / "backups" / SITE).rglob("data-*") if path.is_file()]
    assert [path.name for path in backups] == [f"data-{MASTER}.tar.gz"]
    with tarfile.open(backups[0]) as archive:
        assert f"{SITE}/files/late.txt" in archive.getnames()
    assert [fleet.get(name, SITE).status for name in fleet.names] == [404] * 3
    succeed(remove_platform, **shop.wanted)
    assert SHOP not in fleet.execute("nfs1", "ls", f"{EXPORTED}/{PACK}/platforms").split()
    assert not hosts(fleet)
