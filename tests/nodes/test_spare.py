"""The spare copy that a node makes of its current release: used, spoilt, killed, and never in the way."""

import subprocess
import time

import pytest

from tasks.code import parcel
from tasks.code.apply import remove_platform, switch_release, verify_release
from tasks.code.build import load_manifest
from tasks.code.scripts import REMOVE_PLATFORM
from tasks.ssh import connect
from tests.nodes.conftest import PROJECT
from tests.nodes.shop import Shop
from tests.nodes.spares import Exec, change, here, inode, shop, wait_for_spare

__all__ = ["shop"]


@pytest.mark.parametrize("most", [0, parcel.PAYLOAD_BYTES], ids=["in steps", "in one round trip"])
def test_the_next_release_is_made_of_it_and_changes_no_other(
    shop: Shop, docker_exec: Exec, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(parcel, "PAYLOAD_BYTES", most)
    one = shop.deploy()
    spare = inode(docker_exec, wait_for_spare(shop, docker_exec, one.release))
    change(shop)
    two = shop.deploy()
    assert inode(docker_exec, here(shop, "releases", two.release)) == spare
    shop.check(two, shop.build())
    first = load_manifest(shop.work, one.content)
    assert first is not None
    verify_release(connect(shop.nodes[0]), shop.platform, one.release, first)
    files = [here(shop, "releases", release, "web/file9.php") for release in (one.release, two.release)]
    assert inode(docker_exec, files[0]) == inode(docker_exec, files[1])
    # It is there again, of the new release alone, and nothing else is left.
    wait_for_spare(shop, docker_exec, two.release)
    hidden = docker_exec("web1", "find", here(shop), "-maxdepth", "2", "-name", ".[sm]*")
    assert sorted(hidden.split()) == [
        here(shop, "manifests", f".spare-{two.release}"),
        here(shop, "releases", f".spare-{two.release}"),
    ]
    assert not any(facts.leftovers for facts in shop.facts("all").values())


def test_links_to_sites_are_not_copied(shop: Shop, docker_exec: Exec) -> None:
    links = {"web/sites/a.org": "/var/aegir/sites/a.org"}
    spare = wait_for_spare(shop, docker_exec, shop.deploy(links).release)
    assert docker_exec("web1", "ls", f"{spare}/web/sites") == ""
    (shop.source / "web/file1.php").write_text("two")
    shop.check(shop.deploy(), shop.build())
    assert docker_exec("web1", "ls", here(shop, "current/web/sites")) == ""


SPOILT = {
    "replaced, same size": "cp -p web/file7.php x; printf X | dd of=x conv=notrunc; mv x web/file7.php",
    "a file more": "touch web/shell.php",
    "a file less": "rm web/file8.php",
    "a mode": "cp -p web/file7.php x; chmod 4755 x; mv x web/file7.php",
    "an owner": "cp -p web/file7.php x; chown www-data x; mv x web/file7.php",
    "a link": "rm l*x; ln -s web/file1.php lx",
    "a directory": "mkdir web/extra",
    "what changes anyway": "echo evil >web/evil; mv web/evil web/file1.php; touch web/file11.php",
}  # fmt: skip


@pytest.mark.parametrize("script", SPOILT.values(), ids=SPOILT.keys())
@pytest.mark.parametrize("most", [0, parcel.PAYLOAD_BYTES], ids=["in steps", "in one round trip"])
def test_one_that_somebody_changed_is_not_used(
    shop: Shop, docker_exec: Exec, monkeypatch: pytest.MonkeyPatch, script: str, most: int
) -> None:
    monkeypatch.setattr(parcel, "PAYLOAD_BYTES", most)
    spare = wait_for_spare(shop, docker_exec, shop.deploy().release)
    docker_exec("web1", "sh", "-c", f"cd '{spare}' && {{ {script}; }} 2>/dev/null")
    (shop.source / "web/file1.php").write_text("two")
    shop.check(shop.deploy(), shop.build())
    assert not any(facts.leftovers for facts in shop.facts().values())


def test_a_listing_that_somebody_cut_is_not_used(shop: Shop, docker_exec: Exec) -> None:
    one = shop.deploy()
    spare = wait_for_spare(shop, docker_exec, one.release)
    docker_exec(
        "web1",
        "sh",
        "-c",
        f"touch '{spare}/web/shell.php'; : >{here(shop, 'manifests')}/.spare-{one.release}",
    )
    (shop.source / "web/file1.php").write_text("two")
    shop.check(shop.deploy(), shop.build())


def test_a_manifest_that_somebody_changed_on_a_node_is_not_built_upon(shop: Shop, docker_exec: Exec) -> None:
    """The next one is made there of it, and everything is sent where that is not what it has to be."""
    one = shop.deploy()
    wait_for_spare(shop, docker_exec, one.release)
    docker_exec("web1", "sed", "-i", "s/^# f 0644 /# f 0755 /", here(shop, "manifests", one.release))
    (shop.source / "web/file1.php").write_text("two")
    two = shop.deploy()
    shop.check(two, shop.build())
    files = [here(shop, "releases", release, "web/file9.php") for release in (one.release, two.release)]
    assert inode(docker_exec, files[0]) != inode(docker_exec, files[1])
    assert not any(facts.leftovers for facts in shop.facts().values())


def test_without_one_a_base_that_somebody_changed_is_not_used(shop: Shop, docker_exec: Exec) -> None:
    """The current release is not looked at beforehand when it is to be replaced."""
    one = shop.deploy()
    docker_exec("web1", "rm", "-rf", wait_for_spare(shop, docker_exec, one.release))
    docker_exec("web1", "sh", "-c", f"echo evil >>{here(shop, 'current/web/file7.php')}")
    (shop.source / "web/file1.php").write_text("two")
    two, built = shop.plan(shop.build()), shop.build()
    assert two.for_host("web1").base == one.release
    shop.stage(shop.nodes[0], two, built)
    verify_release(connect(shop.nodes[0]), shop.platform, two.release, built.manifest)


@pytest.mark.parametrize(
    "state", ["listing only", "copy only", "half a copy", "listing taken", "both taken", "staged"]
)
def test_killed_between_any_two_steps(shop: Shop, docker_exec: Exec, state: str) -> None:
    one = shop.deploy()
    wait_for_spare(shop, docker_exec, one.release)
    (shop.source / "web/file1.php").write_text("two")
    two = shop.plan(shop.build())
    broken = {
        "listing only": "rm -rf releases/.spare-$1",
        "copy only": "rm manifests/.spare-$1",
        "half a copy": "for d in releases manifests; do mv $d/.spare-$1 $d/.making-$1; done;"
        " rm -r releases/.making-$1/web",
        "listing taken": "mv manifests/.spare-$1 manifests/.lines-$2",
        "both taken": "mv manifests/.spare-$1 manifests/.lines-$2;"
        " mv releases/.spare-$1 releases/.linking-$2; rm releases/.linking-$2/web/file5.php",
        "staged": "mv manifests/.spare-$1 manifests/.lines-$2;"
        " mv releases/.spare-$1 releases/.staging-$2; rm releases/.staging-$2/web/file1.php",
    }[state]  # fmt: skip
    docker_exec("web1", "sh", "-c", f"cd {here(shop)} && {broken}", "sh", one.release, two.release)
    built = shop.build()
    done = shop.deploy()
    shop.check(done, built)
    wait_for_spare(shop, docker_exec, done.release)
    assert not any(facts.leftovers for facts in shop.facts().values())
    assert docker_exec("web1", "find", here(shop), "-maxdepth", "2", "-name", ".[lm]*[0-9]") == ""


def test_what_is_no_longer_current_is_not_copied(shop: Shop, docker_exec: Exec) -> None:
    one = shop.deploy()
    wait_for_spare(shop, docker_exec, one.release)
    (shop.source / "web/file1.php").write_text("two")
    two = shop.deploy()
    switch_release(connect(shop.nodes[0]), shop.platform, one.release)
    wait_for_spare(shop, docker_exec, one.release)
    assert docker_exec("web1", "ls", "-d", here(shop, "releases", f".spare-{two.release}"), check=False) == ""


def test_a_platform_is_removed_with_it_also_while_it_is_made(shop: Shop, docker_exec: Exec) -> None:
    one = shop.deploy()
    wait_for_spare(shop, docker_exec, one.release)
    lock = here(shop, "manifests/.lock-spare")
    holder = ["docker", "exec", f"{PROJECT}-web1", "flock", lock, "sh", "-c", "echo held; exec sleep 2"]
    with subprocess.Popen(holder, stdout=subprocess.PIPE) as making:
        assert making.stdout is not None
        assert making.stdout.readline() == b"held\n"
        started = time.monotonic()
        assert remove_platform(connect(shop.nodes[0]), shop.platform).changed
    assert time.monotonic() - started > 1


def test_a_platform_is_removed_also_when_a_late_one_opens_the_lock_again(
    shop: Shop, docker_exec: Exec
) -> None:
    wait_for_spare(shop, docker_exec, shop.deploy().release)
    # The late one comes right after the lock was removed, once.
    late = """
    rm() {
        command rm "$@"
        if [ -z "${late-}" ] && [ -d manifests ] && [ ! -e manifests/.lock-spare ]; then
            : >manifests/.lock-spare
            late=came
        fi
    }
    """
    said = docker_exec("web1", "sh", "-euc", f"{late}{REMOVE_PLATFORM}echo $late", "sh", here(shop))
    assert said == "removed\ncame\n"
