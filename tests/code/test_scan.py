"""What a scan takes, what it leaves out, and what it refuses."""

import os
import socket
import time
from pathlib import Path

import pytest

from tasks.code import scan
from tasks.code.scan import check_link, check_relative, scan_tree
from tasks.errors import PlanRefused
from tests.odd_names import ODD


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "web/core").mkdir(parents=True)
    (root / "web/index.php").write_text("<?php echo 1;")
    (root / "web/core/run").write_text("#!/bin/sh")
    (root / "web/core/run").chmod(0o4711)
    (root / "web/core/private").write_text("x")
    (root / "web/core/private").chmod(0o600)
    (root / "web/here").symlink_to("core/run")
    return root


def scanned(tree: Path, **options: object) -> scan.Manifest:
    return scan_tree(tree, tree.parent / "cache", **options)  # type: ignore[arg-type]  # options by name


def test_modes_are_normalised_and_setuid_is_gone(tree: Path) -> None:
    modes = {entry.path: entry.mode for entry in scanned(tree)}
    assert modes[b"web/core/run"] == 0o755
    assert modes[b"web/core/private"] == 0o644
    assert modes[b"web/core"] == 0o755


def test_the_same_content_with_other_times_is_the_same_release(tree: Path) -> None:
    before = scanned(tree).digest
    for path in tree.rglob("*"):
        os.utime(path, (1, 1), follow_symlinks=False)
    assert scanned(tree).digest == before


@pytest.mark.parametrize("vcs", [".git", ".svn", ".hg", "CVS"])
def test_version_control_is_left_out_at_any_depth(tree: Path, vcs: str) -> None:
    before = scanned(tree)
    for folder in (tree / vcs, tree / "web/core" / vcs):
        folder.mkdir()
        (folder / "config").write_text("secret")
    assert scanned(tree) == before
    (tree / ".gitignore").write_text("ships: it is no repository")
    assert b".gitignore" in scanned(tree).by_path


def test_exclusions_are_anchored(tree: Path) -> None:
    for folder in ("sites/a.org/files", "web/modules/sites/x/files"):
        (tree / folder).mkdir(parents=True)
        (tree / folder / "f").write_text("x")
    paths = set(scanned(tree, excluded=["/sites/*/files/"]).by_path)
    assert b"sites/a.org" in paths
    assert b"sites/a.org/files" not in paths
    assert b"web/modules/sites/x/files/f" in paths


def test_odd_names(tree: Path) -> None:
    for name in ODD:
        with open(os.path.join(os.fsencode(tree), name), "wb") as file:
            file.write(b"x")
    assert set(ODD) <= set(scanned(tree).by_path)


@pytest.mark.parametrize(
    ("path", "target", "bad"),
    [
        (b"a", b"b", ""),
        (b"a/b", b"../c", ""),
        (b"vendor/bin/x", b"../pkg/bin/x", ""),
        (b"a", b"/etc/passwd", "absolute"),
        (b"a", b"..", "leaves"),
        (b"a/b", b"../../c", "leaves"),
        (b"a/b", b"..//.././../c", "leaves"),
        (b"a", b"b/../../c", "behind a name"),
        (b"a", b"b/..", "behind a name"),
    ],
)
def test_links(path: bytes, target: bytes, bad: str) -> None:
    found = check_link(path, target)
    assert bad in found
    assert bool(found) == bool(bad)


def test_many_bad_links_are_listed_up_to_twenty(tree: Path) -> None:
    for number in range(30):
        (tree / f"link{number:02}").symlink_to("/etc/passwd")
    with pytest.raises(PlanRefused, match="and 10 more") as refused:
        scanned(tree)
    assert str(refused.value).count("absolute link") == 20


def test_sockets_and_pipes_are_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tree / "pipe")
    monkeypatch.chdir(tree)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("sock")
        with pytest.raises(PlanRefused, match="2 entries") as refused:
            scanned(tree)
    assert str(refused.value).count("is a device, socket or pipe") == 2


def test_unreadable_files_are_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: bytes) -> str:
        raise PermissionError(13, "Permission denied", path)

    # Tests run as root, whom no mode keeps out.
    monkeypatch.setattr(scan, "_read_digest", refuse)
    with pytest.raises(PlanRefused, match=r"index\.php' cannot be read \(Permission denied\)"):
        scanned(tree)


@pytest.mark.parametrize("folders", [[], ["a/b"], [".git/objects"]])
def test_an_empty_source_is_refused(tmp_path: Path, folders: list[str]) -> None:
    (tmp_path / "tree").mkdir()
    for folder in folders:
        (tmp_path / "tree" / folder).mkdir(parents=True)
    with pytest.raises(PlanRefused, match="is empty"):
        scanned(tmp_path / "tree")


def test_an_overlay_is_laid_over(tree: Path) -> None:
    manifest = scanned(tree, overlay={"web/index.php": b"new", "web/conf/a.php": b"a"})
    assert manifest.by_path[b"web/index.php"].size == 3
    assert manifest.by_path[b"web/conf"].kind == "d"
    for bad in ("web/core", "web/index.php/x"):
        with pytest.raises(PlanRefused):
            scanned(tree, overlay={bad: b""})


@pytest.mark.parametrize("path", ["", "/etc/x", "../x", "a/../b", "a//b", "./a", "a\0b"])
def test_overlay_paths_stay_inside(path: str) -> None:
    with pytest.raises(PlanRefused):
        check_relative(path)


def test_an_unchanged_file_is_not_read_again(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "RACY_NS", -time.time_ns())
    first = scanned(tree)
    read: list[bytes] = []
    really = scan._read_digest
    monkeypatch.setattr(scan, "_read_digest", lambda path: read.append(path) or really(path))
    assert scanned(tree) == first
    assert read == []
    (tree / "web/index.php").write_text("<?php echo 2;")
    assert scanned(tree) != first
    assert [path.rpartition(b"/")[2] for path in read] == [b"index.php"]


def test_a_fresh_file_is_read_again_for_its_clock_tick_may_not_be_over(tree: Path) -> None:
    scanned(tree)
    info = (tree / "web/index.php").stat()
    (tree / "web/index.php").write_text("<?php echo 2;")
    os.utime(tree / "web/index.php", ns=(info.st_atime_ns, info.st_mtime_ns))
    assert scanned(tree).by_path[b"web/index.php"].digest == scan.new_hash(b"<?php echo 2;").hexdigest()


def test_a_damaged_cache_is_as_good_as_none(tree: Path) -> None:
    (tree.parent / "cache").write_bytes(b"a\0b\0c\0\xff")
    assert scanned(tree).files == 3
