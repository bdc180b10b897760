"""What rsync is told, so that exactly what was planned is sent."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.code.manifest import Entry
from tasks.code.parcel import name_for_rsync

PARTS = st.sampled_from([b"a", b"b", b"c d", b"-e", b"#f", b"\xff", b"new\nline"])
PATHS = st.lists(PARTS, min_size=1, max_size=3).map(b"/".join)


def as_entries(paths: set[bytes], folders: set[bytes]) -> list[Entry]:
    return [Entry(path, "d" if path in folders else "f") for path in sorted(paths)]


def make(root: Path, files: set[bytes]) -> set[bytes]:
    """Make the files that need no other file to be a directory; returns all paths with their parents."""
    there: set[bytes] = set()
    for path in sorted(files):
        full = os.path.join(os.fsencode(root), path)
        if not any(path.startswith(other + b"/") for other in files):
            os.makedirs(os.path.dirname(full), exist_ok=True)
            Path(os.fsdecode(full)).write_bytes(path)
            there |= {path} | {path[:i] for i, byte in enumerate(path) if byte == ord("/")}
    return there


def send(root: Path, names: tuple[bytes, ...], target: Path) -> set[bytes]:
    """What a real rsync brings when it is told these names."""
    subprocess.run(
        ["rsync", "--links", "--from0", "--files-from=-", f"{root}/", f"{target}/"],
        input=b"".join(b"./%s\0" % name for name in names), check=True,
    )  # fmt: skip
    found = subprocess.run(
        ["find", ".", "-mindepth", "1", "-print0"], cwd=target, capture_output=True, check=True
    )
    return {path[2:] for path in found.stdout.split(b"\0") if path}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.sets(PATHS, min_size=1, max_size=12), left_out=st.sets(PATHS, max_size=4))
def test_rsync_brings_exactly_the_entries(
    files: set[bytes], left_out: set[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root, target = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("node")
    there = make(root, files)
    folders = {path for path in there if any(other.startswith(path + b"/") for other in there)}
    gone = {path for path in there if any(path == out or path.startswith(out + b"/") for out in left_out)}
    wanted = there - gone
    assert send(root, name_for_rsync(as_entries(wanted, folders), root), target) == wanted


def test_a_whole_tree_has_one_name_for_each_directory(tmp_path: Path) -> None:
    there = make(tmp_path, {b"web/index.php", b"web/core/a.php", b"web/core/b.php"})
    assert name_for_rsync(as_entries(there, {b"web", b"web/core"}), tmp_path) == (b"", b"web/", b"web/core/")


def test_a_directory_with_something_that_stays_is_not_named_whole(tmp_path: Path) -> None:
    make(tmp_path, {b"web/index.php", b"web/.git/config"})
    entries = as_entries({b"web", b"web/index.php"}, {b"web"})
    assert name_for_rsync(entries, tmp_path) == (b"", b"web/index.php")


def test_what_has_vanished_is_still_asked_for(tmp_path: Path) -> None:
    assert name_for_rsync([Entry(b"gone/file", "f")], tmp_path) == (b"gone/file",)
