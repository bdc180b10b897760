"""Servers, disks and workers that fail: a clear error, a fleet as it was, and then a run that converges."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blocks import Cluster
from flows.add_site import add_site
from flows.create_platform import create_platform
from flows.deploy_platform import deploy_platform
from flows.remove_platform import remove_platform
from flows.remove_site import remove_site
from flows.verify_platform import verify_platform
from tests.nodes.children import running
from tests.nodes.fleet import Fleet, change_nothing, fail, fleet, saved, succeed, wait_on, wait_until
from tests.nodes.shop_site import Shop, at_the_same_time, open_shop, register_again, slow_site, staged

__all__ = ["fleet"]

SHOP, SITE, SECOND = "faults-machines", "machines.faults.test", "second.machines.test"
HERE = f"/var/aegir/platforms/{SHOP}"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


@pytest.fixture(scope="module")
def shop(fleet: Fleet, bed: Any, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(fleet, bed, tmp_path_factory.mktemp("shop"), SHOP, SITE)


# Servers that cannot be reached as they should


@pytest.mark.parametrize(
    ("broken", "message"),
    [({"host_keys": [KEY]}, "host key"), ({"ssh_port": 1}, "cannot be reached")],
    ids=["wrong host key", "refused"],
)
def test_a_server_that_lets_nobody_in(shop: Shop, broken: dict[str, Any], message: str) -> None:
    fleet = shop.fleet
    register_again(fleet, "web4", "faults-web4", **broken)
    cluster = saved(Cluster(servers=["web1", "web3", "faults-web4"]), "faults-three")
    wanted = {"platform": "faults-three", "target": cluster, "source": str(shop.source), "profile": "php"}
    with fleet.untouched():
        said = fail(create_platform, **wanted)
    assert "faults-web4" in said
    (row,) = fleet.table("outcome-deploy-faults-three")
    assert (row["host"], row["result"]) == ("faults-web4", "failed")
    assert message in row["detail"]
    register_again(fleet, "web4", "faults-web4")
    succeed(create_platform, **wanted)
    assert len({fleet.current(name, "faults-three") for name in ("web1", "web3", "web4")} - {""}) == 1
    succeed(remove_platform, platform=fleet.platform("faults-three"))


def test_a_connection_that_drops_in_the_middle_is_taken_up_again(shop: Shop) -> None:
    text = shop.write(megabytes=60)

    def drop() -> None:
        wait_on(shop.fleet, "web2", f"ls {HERE}/releases/.staging-*/big >/dev/null 2>&1")
        shop.fleet.execute("web2", "sh", "-c", "kill -9 $(pgrep -u aegir sshd)")

    with at_the_same_time(drop):
        shop.converge(text)
    logs = wait_until(
        lambda: [r["message"] for r in shop.fleet.listing("logs") if "web2: stage" in r["message"]]
    )
    assert any("it will be tried again" in line for line in logs), logs


def test_a_node_that_dies_while_it_is_staged_to(
    shop: Shop, docker_kill: Callable[[str], None], docker_start: Callable[[str], None]
) -> None:
    text, before = shop.write(megabytes=60), shop.current()

    def die() -> None:
        wait_on(shop.fleet, "web4", f"ls {HERE}/releases/.staging-*/big >/dev/null 2>&1")
        docker_kill("web4")

    with at_the_same_time(die):
        said = fail(deploy_platform, **shop.wanted)
    assert "web4" in said
    shop.check("web1", "web2", "web3")
    docker_start("web4")
    assert shop.current() == before
    shop.check()
    state = shop.fleet.table(f"outcome-deploy-{SHOP}")
    staged = {row["host"] for row in state if row["step"] == "stage" and row["result"] == "changed"}
    assert staged == {"web1", "web2", "web3"}, "the others were not kept from finishing"
    shop.converge(text)


def test_a_node_that_accepts_connections_and_never_answers(
    shop: Shop, docker_pause: Callable[[str], None], docker_unpause: Callable[[str], None]
) -> None:
    text, before = shop.write(), shop.current()
    docker_pause("web4")
    started = time.monotonic()
    said = fail(deploy_platform, **shop.wanted)
    assert time.monotonic() - started < 120
    assert "web4" in said
    shop.check("web1", "web2", "web3")
    docker_unpause("web4")
    assert shop.current() == before
    shop.converge(text)


def test_a_full_disk(shop: Shop, bed: Any, tmp_path: Path) -> None:
    fleet, name = shop.fleet, "faults-full"
    (tmp_path / "big").write_bytes(os.urandom(30 << 20))
    there = f"/var/aegir/platforms/{name}"
    inspect = ["docker", "inspect", "-f", "{{.State.Pid}}", f"{bed.project}-web4"]
    pid = subprocess.run(inspect, capture_output=True, text=True, check=True).stdout.strip()
    enter = ["nsenter", "-t", pid, "-m", "-p", "--"]
    fleet.execute("web4", "install", "-d", "-o", "aegir", "-g", "aegir", there)
    options = "size=20m,uid=5000,gid=5000,mode=755"
    if subprocess.run(
        [*enter, "mount", "-t", "tmpfs", "-o", options, "tmpfs", there], check=False
    ).returncode:
        # A full disk needs one of its own; the rest of the suite runs without that privilege.
        pytest.skip("this machine does not let a test mount a file system in a container")
    wanted = {"platform": name, "target": fleet.cluster, "source": str(tmp_path), "profile": "php"}
    try:
        with fleet.untouched():
            said = fail(create_platform, **wanted)
        assert "web4" in said
        assert "bytes of disk are left" in said
        assert not any(node in said for node in ("web1:", "web2:", "web3:"))
    finally:
        subprocess.run([*enter, "umount", "-l", there], check=False)
    succeed(create_platform, **wanted)
    change_nothing(create_platform, **wanted)
    succeed(remove_platform, platform=fleet.platform(name))


def test_a_database_that_is_down(
    shop: Shop, docker_kill: Callable[[str], None], docker_start: Callable[[str], None]
) -> None:
    fleet = shop.fleet
    wanted = {"uri": SECOND, "platform": fleet.platform(SHOP), "database": fleet.database}
    fleet.execute("web1", "sh", "-c", f"echo x >{HERE}/current/by-hand.php")
    docker_kill("db")
    assert "flows-db" in fail(add_site, **wanted)
    assert {fleet.get(name, SECOND).status for name in fleet.names} == {404}
    assert not any(SECOND in fleet.execute(n, "ls", "/var/aegir/sites/").split() for n in fleet.names)
    said = fail(verify_platform, platform=fleet.platform(SHOP))
    assert "flows-db" in said
    rows = fleet.table(f"outcome-verify-{SHOP}")
    # The rest was verified and repaired all the same.
    assert "web1" in {r["host"] for r in rows if r["step"] == "stage" and r["result"] == "changed"}
    assert shop.fleet.execute("web1", "ls", f"{HERE}/current/").split() == ["index.php"]
    assert {r["host"] for r in rows if r["step"] == "check sites"} == set(fleet.names)
    shop.check()
    docker_start("db")
    succeed(verify_platform, platform=fleet.platform(SHOP))
    change_nothing(verify_platform, platform=fleet.platform(SHOP))
    succeed(add_site, **wanted)
    succeed(remove_site, site=fleet.site(SECOND))


# A worker that is killed


def test_killed_while_staging(shop: Shop) -> None:
    text, before = shop.write(megabytes=80), shop.current()
    with running("deploy_platform", platform=shop.fleet.platform(SHOP)) as child:
        wait_on(shop.fleet, "web3", f"ls {HERE}/releases/.staging-*/big >/dev/null 2>&1")
        child.kill()
    assert shop.current() == before
    shop.check()
    shop.fleet.release_locks()
    shop.converge(text)


def test_killed_between_staging_and_switching(shop: Shop) -> None:
    text, before = shop.write(), shop.current()
    with slow_site(shop), running("deploy_platform", platform=shop.fleet.platform(SHOP)) as child:
        staged(shop)
        child.kill()
    assert shop.current() == before
    shop.check()
    shop.fleet.release_locks()
    shop.converge(text)


def test_killed_while_switching_and_then_waited_for(
    shop: Shop, docker_pause: Callable[[str], None], docker_unpause: Callable[[str], None]
) -> None:
    text, (before,) = shop.write(), shop.current()
    with slow_site(shop), running("deploy_platform", platform=shop.fleet.platform(SHOP)) as child:
        staged(shop)
        docker_pause("web4")
        wait_on(shop.fleet, "web1", f"[ $(basename $(readlink {HERE}/current)) != {before} ]")
        child.kill()
        # What was on its way to web4 may still be done there, now that nobody waits for it.
        docker_unpause("web4")
    # Nobody frees the dead run's locks but time: 60 seconds of lease. What was switched serves meanwhile.
    shop.converge(text)


def test_two_runs_at_once_come_one_after_the_other(shop: Shop, tmp_path: Path) -> None:
    fleet, text = shop.fleet, shop.write(megabytes=60)
    (tmp_path / "index.php").write_text("other")
    with running("deploy_platform", platform=shop.fleet.platform(SHOP)) as first:
        wait_on(fleet, "web1", f"ls {HERE}/releases/.staging-*/big >/dev/null 2>&1")
        succeed(create_platform, platform="faults-two", target=fleet.cluster, source=str(tmp_path))
        said = first.wait(240)
    assert "Completed" in said
    shop.shown = text
    shop.check()
    two = {fleet.current(name, "faults-two") for name in fleet.names}
    assert len(two) == 1
    # Releases are named by when they were planned, and changed directories say when that was done.
    stat = ("stat", "-c", "%Y", f"{HERE}/", "/var/aegir/platforms/faults-two/releases")
    for name in fleet.names:
        switched, begun = fleet.execute(name, *stat).split()
        assert int(switched) <= int(begun)
    succeed(remove_platform, platform=fleet.platform("faults-two"))
