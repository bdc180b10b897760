"""A platform on one node whose spare copies are made at once, and what one sees of them there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.code import apply
from tasks.code.apply import remove_platform
from tasks.ssh import connect
from tests.nodes.prepared import prepared
from tests.nodes.shop import Shop
from tests.odd_names import ODD

Exec = Callable[..., str]
WAIT_SECONDS = 60


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
