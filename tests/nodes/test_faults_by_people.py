"""What people do wrong: input, a vhost by hand, a broken release. A clear error and a fleet as it was."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from blocks import Cluster, Site, site_block_name
from flows import locks
from flows.add_site import add_site
from flows.create_platform import create_platform
from flows.deploy_platform import deploy_platform
from flows.locks import hold
from flows.remove_site import remove_site
from tests.logs import wait_for_log
from tests.nodes.children import running
from tests.nodes.fleet import Fleet, change_nothing, fail, fleet, saved, succeed
from tests.nodes.shop_site import Shop, at_the_same_time, open_shop, register_again

__all__ = ["fleet"]

# Root reads everything, unless it gave that up: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH (capabilities(7)).
HUMBLE = """
import ctypes
libc = ctypes.CDLL(None)
header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert libc.capget(header, sets) == 0
effective, permitted = 0, 1
for each in (effective, permitted):
    sets[each] &= ~(1 << 1 | 1 << 2)
assert libc.capset(header, sets) == 0
"""
SHOP, SITE, SECOND = "faults-shop", "shop.faults.test", "second.faults.test"
ODD = [b"new\nline", b"\xff\xfe.css", b"x" * 255, b" ", b"-rf", b"a'b\";$(x)", b"*"]
BAD_NAMES = [
    "two words.test",
    "it's.test",
    'a"b.test',
    "a;b.test",
    "$(reboot).test",
    "a\nb.test",
    "../etc",
    "a..b",
    "Shop.test",
    "b\u00fccher.test",
    "*.test",
    "",
]


@pytest.fixture(scope="module")
def shop(fleet: Fleet, bed: Any, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(fleet, bed, tmp_path_factory.mktemp("shop"), SHOP, SITE)


# Bad input: refused before anything is touched


def test_a_cluster_of_unknown_or_repeated_servers(shop: Shop) -> None:
    register_again(shop.fleet, "web1", "faults-web1-again")
    unknown = saved(Cluster(servers=["web1", "faults-nobody"]), "faults-unknown")
    same = saved(Cluster(servers=["web1", "faults-web1-again"]), "faults-same")
    with pytest.raises(ValueError, match="'web2' is listed twice"):
        Cluster(servers=["web1", "web2", "web2"])
    with shop.fleet.untouched():
        said = fail(create_platform, platform="faults-x", target=unknown, source=str(shop.source))
        assert "cluster faults-unknown names the WebServer 'faults-nobody', which is not registered" in said
        said = fail(create_platform, platform="faults-x", target=same, source=str(shop.source))
        assert "are the same machine" in said


def test_sources_that_cannot_be_a_release(shop: Shop, tmp_path: Path) -> None:
    for name in ("empty", "leaving", "absolute"):
        (tmp_path / name / "inside").mkdir(parents=True)
    (tmp_path / "leaving/inside/link").symlink_to("../../../etc")
    (tmp_path / "absolute/link").symlink_to("/etc/passwd")
    (tmp_path / "absolute/index.php").write_text("x")
    (tmp_path / "file.txt").write_text("x")
    expected = {
        "empty": "is empty",
        "missing": "missing",
        "leaving": "is a link that leaves the tree",
        "absolute": "is an absolute link",
        "file.txt": "file.txt",
    }
    with shop.fleet.untouched():
        for name, message in expected.items():
            said = fail(
                create_platform, platform="faults-x", target=shop.fleet.cluster, source=str(tmp_path / name)
            )
            assert message in said, (name, said)
        said = fail(create_platform, platform="faults-x", target=shop.fleet.cluster, source="relative/path")
        assert "not an absolute path" in said


def test_a_source_that_may_not_be_read(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "closed").write_text("x")
    (tmp_path / "closed").chmod(0)
    (tmp_path / "index.php").write_text("x")
    wanted = {"platform": "faults-x", "target": shop.fleet.cluster, "source": str(tmp_path)}
    with shop.fleet.untouched(), running("create_platform", first=HUMBLE, **wanted) as child:
        said = child.wait(240)
    assert "'closed' cannot be read (Permission denied)" in said


def test_names_that_are_no_host_names(shop: Shop) -> None:
    where = {"platform": shop.fleet.platform(SHOP), "database": shop.fleet.database}
    with shop.fleet.untouched():
        for name in BAD_NAMES:
            said = fail(add_site, uri=name, **where)
            assert "the site name" in said, (name, said)
            said = fail(add_site, uri=SECOND, aliases=[name], **where)
            assert f"alias of {SECOND}" in said, (name, said)
        assert "Use its ASCII form, xn--bcher-kva.test" in fail(add_site, uri="b\u00fccher.test", **where)
        assert "Use 'shop.test'" in fail(add_site, uri="Shop.test", **where)
        assert "listed twice" in fail(add_site, uri=SECOND, aliases=[SECOND], **where)
    assert Site.find(site_block_name(SECOND)) is None


def test_a_name_that_another_site_has(shop: Shop) -> None:
    where = {"uri": SECOND, "platform": shop.fleet.platform(SHOP), "database": shop.fleet.database}
    with shop.fleet.untouched():
        for names in ({"aliases": [SITE]}, {"redirects": [SITE]}):
            said = fail(add_site, **where, **names)
            assert f"the name {SITE} already belongs to the site {SITE}" in said


def test_names_of_files_that_are_merely_odd(shop: Shop) -> None:
    for name in ODD:
        with open(os.path.join(os.fsencode(shop.source), name), "wb") as file:
            file.write(b"odd")
    shop.converge(shop.write())
    assert shop.fleet.bodies(SITE, "/%FF%FE.css") == ["odd"] * 4
    for name in ODD:
        os.unlink(os.path.join(os.fsencode(shop.source), name))


def test_what_changes_in_a_source_while_a_run_waits_for_its_locks(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """It was built before; what is deployed is what is there when the run is let in."""
    held, let_go = threading.Event(), threading.Event()

    @flow
    def keep_busy() -> None:
        with hold(shop.fleet.cluster.resolve()):
            held.set()
            let_go.wait(120)

    def change_late() -> None:
        wait_for_log(caplog, "is held by the run")
        time.sleep(locks.OVERTAKEN_SECONDS + 2)
        shop.write()
        let_go.set()

    busy = threading.Thread(target=keep_busy)
    busy.start()
    assert held.wait(30)
    with at_the_same_time(change_late):
        succeed(deploy_platform, **shop.wanted)
    busy.join(30)
    shop.shown = f"release {shop.number}"
    shop.check()
    change_nothing(deploy_platform, **shop.wanted)


# What somebody else broke


BY_HAND = {
    "their own directory": {
        "web1": "/etc/apache2/sites-enabled/hand.conf",
        "web3": "/etc/nginx/sites-enabled/hand",
    },
    "our directory": {
        "web1": "/var/aegir/config/live/hand.conf",
        "web3": "/var/aegir/config/live/hand.conf",
    },
}


@pytest.mark.parametrize("place", BY_HAND)
def test_a_vhost_by_hand_that_does_not_parse(shop: Shop, place: str) -> None:
    fleet = shop.fleet
    wanted = {"uri": SECOND, "platform": fleet.platform(SHOP), "database": fleet.database}
    for name, path in BY_HAND[place].items():
        fleet.execute(name, "sh", "-c", f"echo '<VirtualHost {{ broken' >{path}")
    try:
        said = fail(add_site, **wanted)
    finally:
        for name, path in BY_HAND[place].items():
            fleet.execute(name, "rm", path)
    assert "web1" in said
    assert "web3" in said
    assert "hand" in str(fleet.table(f"outcome-add-{SECOND.replace('.', '-')}"))
    shop.check()
    assert {fleet.get(name, SECOND).status for name in fleet.names} == {404}
    succeed(add_site, **wanted)
    assert set(fleet.bodies(SECOND)) == {shop.shown}
    change_nothing(add_site, **wanted)
    succeed(remove_site, site=fleet.site(SECOND))
    shop.check()


def test_a_release_on_which_the_site_breaks_is_taken_back(shop: Shop) -> None:
    text, before = shop.write(), shop.current()
    good = (shop.source / "index.php").read_text()
    (shop.source / "index.php").write_text("<?php no_such_function();")
    said = fail(deploy_platform, **shop.wanted)
    assert "answered 500" in said
    assert shop.current() == before
    shop.check()
    (shop.source / "index.php").write_text(good)
    shop.converge(text)
