"""A pack's flows die between any two steps, and its share hangs: nobody notices, the next run finishes."""

from __future__ import annotations

import time
from typing import Any

import pytest

from blocks import Pack
from flows.add_node import add_node
from flows.add_site import add_site
from flows.create_platform import create_platform
from flows.deploy_platform import deploy_platform
from flows.remove_node import remove_node
from flows.remove_platform import remove_platform
from flows.remove_site import remove_site
from flows.rollback_platform import rollback_platform
from flows.verify_platform import verify_platform
from tasks.grants import user_name
from tests.nodes.children import KILLED, running
from tests.nodes.fleet import change_nothing, fail, fleet, succeed
from tests.nodes.machines import PackBed
from tests.nodes.packs import MASTER, Shop, provide, register_pack
from tests.nodes.shares import WITHOUT, on_all

__all__ = ["fleet"]

PACK, SHOP, SITE, OTHER = "killed-farm", "killed-shop", "shop.killed.test", "other.killed.test"
STAYING = (MASTER, "slave1")
# Three looks at a node's mounts, of 20 s each (tasks/packs/facts.py), with growing pauses, on a busy machine.
HUNG_SECONDS = 150


@pytest.fixture(scope="module")
def shop(fleet: Any, pack_bed: PackBed, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    # What the tests of other packs left mounted; a server that serves another pack keeps our key.
    on_all(pack_bed, WITHOUT)
    for other in Pack.find_all():
        Pack.unregister(other)
    farm = provide(register_pack(fleet, pack_bed, PACK))
    shop = Shop(farm, tmp_path_factory.mktemp("shop"), SHOP, SITE)
    succeed(create_platform, platform=SHOP, target=farm.pack, source=str(shop.source), profile="php")
    succeed(add_site, uri=SITE, platform=farm.platform(SHOP), database=farm.database)
    return shop


def kill_at_each(shop: Shop, function: str, *moments: str, **parameters: Any) -> None:
    """Each run dies when it comes to a later step than the one before; the site answers all the while.

    A moment is a function that the flow's own module calls, or another module of the flows.
    """
    for moment in moments:
        dies_at = f"flows.{moment}" if "." in moment else f"flows.{function}.{moment}"
        with running(function, dies_at=dies_at, **parameters) as child:
            said = child.wait(180)
        assert child.process.exitcode == KILLED, (moment, said[-3000:])
        shop.fleet.release_locks()
        assert len(shop.fleet.bodies(SITE, names=STAYING)) == 2, moment


def the_pack() -> Pack:
    return Pack.get(PACK, "a test")


def hosts(shop: Shop, site: str) -> set[str]:
    return set(shop.fleet.sql(f"SELECT Host FROM mysql.user WHERE User = '{user_name(site)}'").split())


def addresses(shop: Shop, *names: str) -> set[str]:
    return {shop.fleet.node(name).address for name in names or shop.fleet.names}


def test_deploy_platform(shop: Shop) -> None:
    old = shop.current()
    shop.write()
    kill_at_each(shop, "deploy_platform", "release.stage", "release.switch_everywhere", **shop.wanted)
    assert shop.current() == old
    shop.check(number=shop.number - 1)
    kill_at_each(shop, "deploy_platform", "release.follow_master", "release.check_sites", **shop.wanted)
    succeed(deploy_platform, **shop.wanted)
    shop.check()
    assert len(shop.current()) == 1
    change_nothing(deploy_platform, **shop.wanted)


def test_rollback_platform(shop: Shop) -> None:
    new = shop.current()
    moments = ("switch_everywhere", "release.follow_master", "release.check_sites")
    (old,) = {name for name in shop.staged() if name not in new}
    wanted = {**shop.wanted, "release": old}
    kill_at_each(shop, "rollback_platform", *moments, **wanted)
    succeed(rollback_platform, **wanted)
    shop.check(number=shop.number - 1)
    assert shop.current() == {old}
    change_nothing(rollback_platform, **wanted)
    succeed(deploy_platform, **shop.wanted)
    shop.check()


def test_add_site_and_remove_site(shop: Shop) -> None:
    fleet = shop.fleet
    wanted = {"uri": OTHER, "platform": fleet.platform(SHOP), "database": fleet.database}
    steps = ("make_data", "open_databases", "install_once", "serve_everywhere")
    kill_at_each(shop, "add_site", *steps, **wanted)
    succeed(add_site, **wanted)
    assert set(fleet.bodies(OTHER)) == {f"release {shop.number}, 2"}
    assert hosts(shop, OTHER) == addresses(shop)
    change_nothing(add_site, **wanted)
    steps = ("back_up_offline", "remove_traces", "drop_database")
    kill_at_each(shop, "remove_site", *steps, site=fleet.site(OTHER))
    succeed(remove_site, site=fleet.site(OTHER))
    assert [fleet.get(name, OTHER).status for name in fleet.names] == [404] * 3
    assert not hosts(shop, OTHER)


def test_verify_platform(shop: Shop) -> None:
    fleet = shop.fleet
    # Root is nobody on the share.
    change = f"echo changed >/var/aegir/platforms/{SHOP}/current/big"
    fleet.execute(MASTER, "su", "aegir", "-s", "/bin/sh", "-c", change)
    fleet.sql(f"DROP USER '{user_name(SITE)}'@'{fleet.node('slave2').address}'")
    fleet.execute("slave2", "rm", f"/var/aegir/config/live/{SITE}.conf")
    steps = ("carry_out", "make_data", "open_databases", "serve_everywhere", "close_databases")
    kill_at_each(shop, "verify_platform", *steps, **shop.wanted)
    succeed(verify_platform, **shop.wanted)
    shop.check()
    assert hosts(shop, SITE) == addresses(shop)
    change_nothing(verify_platform, **shop.wanted)


def test_remove_node_and_add_node(shop: Shop) -> None:
    fleet, slave = shop.fleet, {"server": "slave2"}
    steps = ("serve_everywhere", "take_grants_back", "forget", "withdraw", "revoke_key")
    for step in steps:
        kill_at_each(shop, "remove_node", step, target=the_pack(), **slave)
        assert the_pack().slaves == ["slave1"]
    succeed(remove_node, target=the_pack(), **slave)
    assert "nfs4" not in fleet.execute("slave2", "cat", "/proc/self/mountinfo")
    assert hosts(shop, SITE) == addresses(shop, *STAYING)
    change_nothing(remove_node, target=the_pack(), **slave)
    steps = ("provision", "follow_master", "make_data", "open_databases", "serve_everywhere", "enlist")
    kill_at_each(shop, "add_node", *steps, target=the_pack(), **slave)
    assert the_pack().slaves == ["slave1"]
    succeed(add_node, target=the_pack(), **slave)
    shop.check()
    assert hosts(shop, SITE) == addresses(shop)
    change_nothing(add_node, target=the_pack(), **slave)


def test_a_share_that_hangs_for_one_slave_holds_nobody_up(shop: Shop, breakable_pack: PackBed) -> None:
    fleet, old, began = shop.fleet, shop.current(), time.monotonic()
    shop.write()
    breakable_pack.drop_port("nfs1", 2049, fleet.node("slave1").address)
    said = fail(deploy_platform, **shop.wanted)
    assert "(not read: slave1)" in said
    assert time.monotonic() - began < HUNG_SECONDS
    breakable_pack.restore("nfs1")
    assert shop.current() == old
    succeed(deploy_platform, **shop.wanted)
    shop.check()


def test_remove_platform(shop: Shop) -> None:
    succeed(remove_site, site=shop.fleet.site(SITE))
    succeed(remove_platform, **shop.wanted)
