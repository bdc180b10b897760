"""Backups that fail while remove-site has the site off the web: it is back there, and nothing is removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.remove_platform import remove_platform
from flows.remove_site import remove_site
from flows.verify_platform import verify_platform
from tests.nodes.children import running
from tests.nodes.fleet import Fleet, change_nothing, fail, fleet, succeed, wait_until
from tests.nodes.shop_site import Shop, open_shop

__all__ = ["fleet"]

SHOP, SITE = "faults-backups", "backups.faults.test"
LIMIT = 8 << 20  # bytes that a run may write into one file: for it, the disk is full then
FULL = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT}, {LIMIT}))\n"


@pytest.fixture(scope="module")
def shop(fleet: Fleet, bed: Any, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(fleet, bed, tmp_path_factory.mktemp("shop"), SHOP, SITE)


@pytest.fixture
def slow(shop: Shop) -> None:
    """So much data that the backup takes some seconds, and does not fit where the disk is full."""
    script = f"[ -e $1 ] || head -c {15 * LIMIT} /dev/urandom >$1"
    shop.fleet.execute("web3", "sh", "-c", script, "sh", f"/var/aegir/sites/{SITE}/files/big")


def statuses(shop: Shop) -> set[int]:
    return {shop.fleet.get(name, SITE).status for name in shop.fleet.names}


def nothing_is_removed(shop: Shop) -> None:
    shop.check()
    change_nothing(verify_platform, platform=shop.fleet.platform(SHOP))
    assert shop.fleet.site(SITE).uri == SITE


def fail_for_want_of_space(shop: Shop) -> None:
    with running("remove_site", first=FULL, site=shop.fleet.site(SITE)) as child:
        said = child.wait(240)
    assert "Failed" in said, said
    assert "data-web3.tar.gz cannot be written on the controller: File too large" in said


def test_a_backup_directory_that_cannot_be_made(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PACKMASTER_BACKUPS", str(tmp_path / "file/backups"))
    with shop.fleet.untouched():
        assert "PACKMASTER_BACKUPS" in fail(remove_site, site=shop.fleet.site(SITE))
    nothing_is_removed(shop)


@pytest.mark.usefixtures("slow")
def test_a_disk_that_is_full_in_the_middle(shop: Shop) -> None:
    fail_for_want_of_space(shop)
    nothing_is_removed(shop)


@pytest.mark.usefixtures("slow")
def test_a_run_that_is_cancelled_in_the_middle(shop: Shop) -> None:
    with running("remove_site", site=shop.fleet.site(SITE)) as child:
        wait_until(lambda: statuses(shop) == {503}, 240)
        child.terminate()
        said = child.wait(240)
    assert "Completed" not in said, said
    shop.fleet.release_locks()
    nothing_is_removed(shop)


@pytest.mark.usefixtures("slow")
def test_a_run_after_one_that_was_killed_puts_the_site_back_too(shop: Shop) -> None:
    with running("remove_site", site=shop.fleet.site(SITE)) as child:
        wait_until(lambda: statuses(shop) == {503}, 240)
        child.kill()
    assert statuses(shop) == {503}
    shop.fleet.release_locks()
    fail_for_want_of_space(shop)
    nothing_is_removed(shop)
    shop.fleet.execute("web3", "rm", f"/var/aegir/sites/{SITE}/files/big")
    succeed(remove_site, site=shop.fleet.site(SITE))
    assert statuses(shop) == {404}
    succeed(remove_platform, platform=shop.fleet.platform(SHOP))
