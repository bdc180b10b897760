"""Servers that missed a deployment or rollback, or lost what they had: the others go on, and they follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blocks import WebServer
from flows.create_platform import create_platform
from flows.deploy_platform import deploy_platform
from flows.remove_platform import remove_platform
from flows.rollback_platform import rollback_platform
from flows.verify_platform import verify_platform
from tests.nodes.fleet import Fleet, change_nothing, fail, fleet, succeed, wait_on, wait_until
from tests.nodes.shop_site import Shop, at_the_same_time, open_shop

__all__ = ["fleet"]

SHOP, SITE = "missed-shop", "shop.missed.test"
HERE = f"/var/aegir/platforms/{SHOP}"
THREE = ("web1", "web2", "web3")


@pytest.fixture(scope="module")
def shop(fleet: Fleet, bed: Any, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(fleet, bed, tmp_path_factory.mktemp("shop"), SHOP, SITE)


def switches(fleet: Fleet) -> list[dict[str, Any]]:
    """What other systems were told of new releases of the shop."""
    return fleet.events("packmaster.platform.switched", f"packmaster.platform.{SHOP}")


def test_a_quorum_goes_on_without_a_server_that_dies(
    shop: Shop, docker_kill: Callable[[str], None], docker_start: Callable[[str], None]
) -> None:
    """It is staged on three of four: those switch, and say so to others; the run fails and names the one."""
    fleet, text, (before,) = shop.fleet, shop.write(megabytes=60), shop.current()

    def die() -> None:
        wait_on(fleet, "web4", f"ls {HERE}/releases/.staging-*/big >/dev/null 2>&1")
        docker_kill("web4")

    with at_the_same_time(die):
        said = fail(deploy_platform, **shop.wanted, quorum=3)
    assert "web4" in said
    assert not any(name in said for name in THREE)
    (new,) = {fleet.current(name, SHOP) for name in THREE}
    assert new != before
    shop.shown = text
    shop.check(*THREE)
    told = wait_until(lambda: [e for e in switches(fleet) if e["payload"]["release"] == new])
    assert len(told) == 1
    # Without the quorum, the next one waits for the server; with it, it does not, and there is nothing to do.
    assert "3 host(s) can be read and 4 are needed" in fail(deploy_platform, **shop.wanted)
    assert "web4" in fail(deploy_platform, **shop.wanted, quorum=3)
    docker_start("web4")
    assert fleet.current("web4", SHOP) == before
    shop.converge(text)


def test_a_rollback_without_a_server_that_is_down_and_what_that_one_has_when_it_is_back(
    shop: Shop, docker_kill: Callable[[str], None], docker_start: Callable[[str], None]
) -> None:
    fleet, old, (good,) = shop.fleet, shop.shown, shop.current()
    shop.converge(shop.write())
    (bad,) = shop.current()
    docker_kill("web4")
    assert "3 host(s) can be read and 4 are needed" in fail(rollback_platform, **shop.wanted)
    assert {fleet.current(name, SHOP) for name in THREE} == {bad}
    said = fail(rollback_platform, **shop.wanted, quorum=3)
    assert "web4" in said
    assert not any(name in said for name in THREE)
    shop.shown = old
    shop.check(*THREE)
    assert wait_until(lambda: [e for e in switches(fleet) if e["payload"]["release"] == good])
    docker_start("web4")
    assert fleet.current("web4", SHOP) == bad
    # The source is the bad release by now: most servers say what is right.
    succeed(verify_platform, **shop.wanted, dry_run=True)
    assert any("web4" in line and bad in line for line in fleet.lines(f"drift-verify-{SHOP}"))
    succeed(verify_platform, **shop.wanted)
    assert shop.current() == {good}
    shop.check()
    change_nothing(verify_platform, **shop.wanted)
    fleet.execute("web3", "rm", "-rf", HERE)
    fleet.execute("web2", "sh", "-c", f"echo evil >{HERE}/current/evil.php")
    outcomes = succeed(verify_platform, **shop.wanted)
    assert {"web2", "web3"} <= {o.host for o in outcomes.changed if o.step == "stage"}
    shop.check()
    assert "evil.php" not in fleet.execute("web2", "ls", f"{HERE}/current/")
    change_nothing(verify_platform, **shop.wanted)


def test_servers_that_run_one_release_each_are_not_decided_for(shop: Shop) -> None:
    fleet, (one,) = shop.fleet, shop.current()
    text = shop.write()
    shop.converge(text)
    (two,) = shop.current()
    for name in ("web1", "web2"):
        fleet.execute(name, "ln", "-sfn", f"releases/{one}", f"{HERE}/current")
    said = fail(verify_platform, **shop.wanted)
    assert "as many servers run one release as another" in said
    assert "rollback-platform" in said
    assert [fleet.current(name, SHOP) for name in fleet.names] == [one, one, two, two]
    shop.converge(text)


def test_a_site_that_was_broken_before_a_switch_is_named(shop: Shop) -> None:
    """It cannot be held against the release, and nobody shall think that it was looked at."""
    fleet, broken = shop.fleet, f"/var/aegir/sites/{SITE}/files/broken"
    page = "<?php if (file_exists('{}')) {{ http_response_code(500); }} echo '{}';"
    for number in (1, 2):
        text = shop.write()
        (shop.source / "index.php").write_text(page.format(broken, text))
        if number == 1:
            shop.converge(text)
            fleet.execute("web2", "touch", broken)
    try:
        outcomes = succeed(deploy_platform, **shop.wanted)
    finally:
        fleet.execute("web2", "rm", broken)
    (row,) = (outcome for outcome in outcomes if outcome.step == "not checked")
    assert row.host == "web2"
    assert f"http://{SITE}/ on web2: answered 500" in row.detail
    shop.converge(text)


def test_every_file_is_compared_by_a_worker_that_never_deployed_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a listing cannot show, changed on one node; the manifest is another server's."""
    monkeypatch.setenv("PACKMASTER_HOME", str(tmp_path))
    file = f"{HERE}/current/index.php"
    keep = (
        f"cd /tmp; cp -p {file} kept; printf X | dd of={file} conv=notrunc 2>/dev/null; touch -r kept {file}"
    )
    shop.fleet.execute("web3", "sh", "-c", keep)
    try:
        said = fail(verify_platform, **shop.wanted, every_file=True)
    finally:
        shop.fleet.execute("web3", "sh", "-c", f"cp -p /tmp/kept {file}")
    assert "web3" in said
    assert not any(name in said for name in ("web1", "web2", "web4"))
    change_nothing(verify_platform, **shop.wanted, every_file=True)
    assert "No drift" in str(shop.fleet.artifact(f"drift-verify-{SHOP}")["description"])


def test_a_server_whose_manifest_is_only_its_own_is_not_said_to_be_free_of_drift(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name, fleet = "missed-alone", shop.fleet
    wanted = {"platform": name, "target": WebServer.load("web1"), "source": str(shop.source)}
    succeed(create_platform, **wanted, profile="php")
    monkeypatch.setenv("PACKMASTER_HOME", str(tmp_path))
    outcomes = change_nothing(verify_platform, platform=fleet.platform(name), every_file=True)
    (audit,) = (outcome for outcome in outcomes if outcome.step == "audit")
    assert audit.host == "web1"
    assert "not audited but by the manifest that it has itself" in audit.detail
    assert "No drift" not in str(fleet.artifact(f"drift-verify-{name}")["description"])
    succeed(remove_platform, platform=fleet.platform(name))
