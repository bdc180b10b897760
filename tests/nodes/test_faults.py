"""What goes wrong in the field: a clear error and a fleet as it was, and then a run that converges."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from blocks import Cluster, Site, WebServer, site_block_name
from flows.add_site import add_site
from flows.create_platform import create_platform
from flows.deploy_platform import deploy_platform
from flows.remove_platform import remove_platform
from flows.remove_site import remove_site
from flows.verify_platform import verify_platform
from tests.nodes.fleet import (
    Fleet,
    change_nothing,
    fail,
    fleet,
    running,
    saved,
    succeed,
    wait_on,
    wait_until,
)
from tests.nodes.prepared import prepared

__all__ = ["fleet"]

SHOP, SITE, SECOND = "faults-shop", "shop.faults.test", "second.faults.test"
HERE = f"/var/aegir/platforms/{SHOP}"
SLOW = f"/var/aegir/sites/{SITE}/files/slow"
PAGE = "<?php if (file_exists($_SERVER['PACKMASTER_DATA'] . '/files/slow')) {{ sleep(2); }} echo '{}';"
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
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


@dataclass
class Shop:
    """A small PHP site on all four nodes, and the source of its next release."""

    fleet: Fleet
    source: Path
    shown: str = "release 0"
    number: int = 0

    @property
    def wanted(self) -> dict[str, Any]:
        return {"platform": self.fleet.platform(SHOP)}

    def write(self, megabytes: int = 0) -> str:
        """Make the next release of the source; returns what its page says."""
        self.number += 1
        text = f"release {self.number}"
        (self.source / "index.php").write_text(PAGE.format(text))
        shutil.rmtree(self.source / "big", ignore_errors=True)
        for number in range(megabytes):
            (self.source / "big").mkdir(exist_ok=True)
            (self.source / f"big/{number}").write_bytes(os.urandom(1 << 20))
        return text

    def check(self, *names: str) -> None:
        """These nodes (all by default) serve the release that was last deployed."""
        served = self.fleet.bodies(SITE, names=names)
        assert set(served) == {self.shown}

    def converge(self, text: str) -> None:
        """Deploying works now, is seen everywhere, and a second run has nothing to do."""
        succeed(deploy_platform, **self.wanted)
        self.shown = text
        self.check()
        change_nothing(deploy_platform, **self.wanted)
        # A node makes its spare copy whenever it gets to it: that is no left-over.
        leftovers = f"ls -A {HERE}/releases | grep -v -e '^[0-9]' -e '^[.]spare-' -e '^[.]making-'"
        assert [self.fleet.execute(n, "sh", "-c", leftovers, check=False) for n in self.fleet.names] == [
            ""
        ] * 4

    def current(self) -> set[str]:
        return {self.fleet.current(name, SHOP) for name in self.fleet.names}


@pytest.fixture(scope="module")
def shop(fleet: Fleet, bed: Any, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    prepared(bed)
    shop = Shop(fleet, tmp_path_factory.mktemp("shop"))
    shop.shown = shop.write()
    succeed(create_platform, platform=SHOP, target=fleet.cluster, source=str(shop.source), profile="php")
    succeed(add_site, uri=SITE, platform=fleet.platform(SHOP), database=fleet.database)
    shop.check()
    return shop


@contextmanager
def at_the_same_time(action: Callable[[], None]) -> Iterator[None]:
    """Something happens while the flow in the block is running."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(60)
    if failures:
        raise failures[0]


def register_again(fleet: Fleet, server: str, name: str, **wrong: Any) -> None:
    """A server of the bed is registered under one more name, with something wrong about it."""
    node = fleet.node(server)
    fields = {"address": node.address, "kind": node.kind, "host_keys": list(node.host_keys)}
    saved(WebServer(**fields | {"credentials": fleet.credentials} | wrong), name)


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
    # Root reads everything, unless it gave that up.
    humble = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    parameters = {"platform": "faults-x", "target": shop.fleet.cluster.name, "source": str(tmp_path)}
    with shop.fleet.untouched(), running("create_platform", prefix=humble, **parameters) as child:
        said, _ = child.communicate(timeout=60)
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


# A worker that is killed


def test_killed_while_staging(shop: Shop) -> None:
    text, before = shop.write(megabytes=80), shop.current()
    with running("deploy_platform", platform=SHOP) as child:
        wait_on(shop.fleet, "web3", f"ls {HERE}/releases/.staging-*/big >/dev/null 2>&1")
        child.kill()
    assert shop.current() == before
    shop.check()
    shop.fleet.release_locks()
    shop.converge(text)


@contextmanager
def slow_site(shop: Shop) -> Iterator[None]:
    """The site answers after two seconds, which is how long the fleet is staged and not yet switched."""
    for name in shop.fleet.names:
        shop.fleet.execute(name, "touch", SLOW)
    try:
        yield
    finally:
        for name in shop.fleet.names:
            shop.fleet.execute(name, "rm", "-f", SLOW)


def staged(shop: Shop) -> None:
    """Return when every node has a release that is newer than the current one."""
    newest = f"[ $(ls {HERE}/manifests | tail -1) != $(basename $(readlink {HERE}/current)) ]"
    for name in shop.fleet.names:
        wait_on(shop.fleet, name, newest)


def test_killed_between_staging_and_switching(shop: Shop) -> None:
    text, before = shop.write(), shop.current()
    with slow_site(shop), running("deploy_platform", platform=SHOP) as child:
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
    with slow_site(shop), running("deploy_platform", platform=SHOP) as child:
        staged(shop)
        docker_pause("web4")
        wait_on(shop.fleet, "web1", f"[ $(basename $(readlink {HERE}/current)) != {before} ]")
        child.kill()
        assert child.wait(10) == -9, "it had ended already"
        # What was on its way to web4 may still be done there, now that nobody waits for it.
        docker_unpause("web4")
    # Nobody frees the dead run's locks but time: 60 seconds of lease. What was switched serves meanwhile.
    shop.converge(text)


def test_two_runs_at_once_come_one_after_the_other(shop: Shop, tmp_path: Path) -> None:
    fleet, text = shop.fleet, shop.write(megabytes=60)
    (tmp_path / "index.php").write_text("other")
    with running("deploy_platform", platform=SHOP) as first:
        wait_on(fleet, "web1", f"ls {HERE}/releases/.staging-*/big >/dev/null 2>&1")
        succeed(create_platform, platform="faults-two", target=fleet.cluster, source=str(tmp_path))
        said, _ = first.communicate(timeout=60)
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
