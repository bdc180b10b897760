"""A pruned release: gone by name at once, the next spare copy is made of it, and told when it cannot go."""

from __future__ import annotations

import shutil

import pytest

from tasks.code import apply
from tasks.errors import CommandFailed
from tests.nodes.shop import Shop
from tests.nodes.spares import WAIT_SECONDS, Exec, change, here, inode, shop, wait_for_spare

__all__ = ["shop"]


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


def test_the_next_spare_copy_is_made_of_it(shop: Shop, docker_exec: Exec, full: list[str]) -> None:
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


def test_one_that_cannot_be_removed_is_told(shop: Shop, docker_exec: Exec, full: list[str]) -> None:
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
