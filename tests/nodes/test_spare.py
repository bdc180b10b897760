"""The spare copy that a node makes of its current release: used, spoilt, killed, and never in the way."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.code import apply, parcel
from tasks.code.apply import remove_platform, switch_release, verify_release
from tasks.code.build import load_manifest
from tasks.code.scripts import REMOVE_PLATFORM
from tasks.errors import CommandFailed
from tasks.ssh import connect
from tests.nodes.conftest import PROJECT
from tests.nodes.prepared import prepared
from tests.nodes.shop import Shop
from tests.odd_names import ODD

Exec = Callable[..., str]
WAIT_SECONDS = 20


@pytest.fixture
def shop(
    bed: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    docker_exec: Exec,
) -> Iterator[Shop]:
    """A platform on one node, with names of all kinds, deployed; its spare copies are made at once."""
    monkeypatch.setattr(apply, "TIDY_AFTER_SECONDS", 0)
    source = tmp_path / "source"
    (source / "web/sites").mkdir(parents=True)
    for number in range(20):
        (source / f"web/file{number}.php").write_text(f"<?php // {number}\n")
    for name in ODD:
        with open(os.path.join(os.fsencode(source), b"web", name), "wb") as file:
            file.write(name)
        os.symlink(b"web/" + name, os.path.join(os.fsencode(source), b"l" + name[:200]))
    platform = f"spare{os.getpid()}-{abs(hash(request.node.name)) % 10**6}"
    made = Shop(prepared(bed, "web1"), platform, source, tmp_path / "work")
    yield made
    remove_platform(connect(made.nodes[0]), platform)
    assert docker_exec("web1", "ls", "/var/aegir/platforms").split().count(platform) == 0


def here(shop: Shop, *parts: str) -> str:
    return "/".join((f"/var/aegir/platforms/{shop.platform}", *parts))


def wait_for_spare(shop: Shop, docker_exec: Exec, release: str) -> str:
    """Where the spare copy of the release is, once it is."""
    path, ends = here(shop, "releases", f".spare-{release}"), time.monotonic() + WAIT_SECONDS
    while docker_exec("web1", "ls", "-d", path, check=False).strip() != path:
        assert time.monotonic() < ends, docker_exec("web1", "ls", "-lA", here(shop, "releases"))
        time.sleep(0.1)
    return path


def inode(docker_exec: Exec, path: str) -> str:
    return docker_exec("web1", "stat", "-c", "%i", path).strip()


def change(shop: Shop) -> None:
    """Everything that can happen to a file, a link and a directory, some with awkward names."""
    old = (shop.source / "web/file1.php").stat()
    (shop.source / "web/file1.php").write_text("<?php // X\n")
    os.utime(shop.source / "web/file1.php", ns=(old.st_atime_ns, old.st_mtime_ns))
    (shop.source / "web/file2.php").chmod(0o755)
    (shop.source / "web/file3.php").unlink()
    (shop.source / "web/file3.php").mkdir()
    (shop.source / "web/file3.php/in").write_text("x")
    source = os.fsencode(shop.source)
    for name in ODD[:4]:
        Path(os.fsdecode(os.path.join(source, b"web", name))).write_bytes(b"other " + name)
        link = os.path.join(source, b"l" + name[:200])
        os.unlink(link)
        os.symlink(b"web/file5.php", link)
    for name in ODD[4:7]:
        os.unlink(os.path.join(source, b"web", name))
        os.unlink(os.path.join(source, b"l" + name[:200]))
    with open(os.path.join(source, b"lx\t\n\xfe"), "wb") as file:
        file.write(b"new")


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
    holder = ["docker", "exec", f"{PROJECT}-web1", "flock", lock, "sleep", "2"]
    with subprocess.Popen(holder):
        time.sleep(0.5)
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


@pytest.fixture
def full(shop: Shop, docker_exec: Exec, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of five releases, as many as are kept; later a node tidies up after a second."""
    names = []
    for number in range(5):
        change(shop) if number == 2 else (shop.source / "web/file1.php").write_text(f"{number}")
        (shop.source / f"web/{number}").mkdir()
        (shop.source / f"web/{number}/only here").write_text("x")
        if number:
            shutil.rmtree(shop.source / f"web/{number - 1}")
        names.append(shop.deploy().release)
        wait_for_spare(shop, docker_exec, names[-1])
    shutil.rmtree(shop.source / "web/file3.php")
    monkeypatch.setattr(apply, "TIDY_AFTER_SECONDS", 1)
    return names


def list_hidden(shop: Shop, docker_exec: Exec) -> set[str]:
    """What is there beside releases and manifests, once nobody is going to remove anything of it."""
    lock = here(shop, "manifests/.lock-trash")
    docker_exec("web1", "flock", "-w", str(WAIT_SECONDS), lock, "true")
    found = docker_exec("web1", "find", here(shop), "-mindepth", "2", "-maxdepth", "2", "-name", ".*")
    return {path.rpartition("/")[2] for path in found.split()} - {".lock-trash", ".lock-spare"}


def test_it_is_made_of_a_release_that_was_pruned(shop: Shop, docker_exec: Exec, full: list[str]) -> None:
    pruned = inode(docker_exec, here(shop, "releases", full[0]))
    new = shop.deploy()
    facts = shop.facts()["web1"]
    assert ([r.name for r in facts.releases], facts.leftovers) == ([*full[1:], new.release], ())
    spare = wait_for_spare(shop, docker_exec, new.release)
    assert inode(docker_exec, spare) == pruned
    assert list_hidden(shop, docker_exec) == {f".spare-{new.release}"}
    # Each of its files is the same one as in the release, and there are no others.
    listed = "find . ! -type d -printf '%i %p\\0' | sort -z | b2sum; find . -type d | sort | b2sum"
    seen = {
        docker_exec("web1", "sh", "-c", f"cd {where} && {listed}")
        for where in (spare, here(shop, "releases", new.release))
    }
    assert len(seen) == 1
    (shop.source / "web/file1.php").write_text("the next one")
    shop.check(shop.deploy(), shop.build())


def test_a_pruned_release_that_cannot_be_removed_is_told(
    shop: Shop, docker_exec: Exec, full: list[str]
) -> None:
    roots = here(shop, "releases", full[0], "x")
    docker_exec("web1", "sh", "-c", f"mkdir {roots} && touch {roots}/y")
    new = shop.deploy()
    left = f".trash-{full[0]}"
    assert list_hidden(shop, docker_exec) >= {left}
    assert shop.facts()["web1"].leftovers == (left,)
    (shop.source / "web/file1.php").write_text("the next one")
    with pytest.raises(CommandFailed, match="cannot prune"):
        shop.deploy()
    docker_exec("web1", "rm", "-r", here(shop, "releases", left, "x"))
    (shop.source / "web/file1.php").write_text("and one more")
    shop.check(shop.deploy(), shop.build())
    assert list_hidden(shop, docker_exec).isdisjoint({left, f".making-{new.release}"})
