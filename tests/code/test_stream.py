"""What tar brings is what was planned, and what the ends of it mean."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.code.programs import Ended
from tasks.code.scan import scan_tree
from tasks.code.stream import explain_failure, pack_command, unpack_command
from tasks.errors import AccessDenied, CommandFailed, PackmasterError, Unreachable
from tests.odd_names import ODD

PARTS = st.sampled_from([*ODD, b"a\\nb", b"[a]", b"a", b"b"])
PATHS = st.lists(PARTS, min_size=1, max_size=3).map(b"/".join)


def send(root: Path, paths: list[bytes], target: Path) -> str:
    """What real tars bring of these paths; returns what the one here told."""
    names = b"".join(b"./%s\0" % path for path in paths)
    packed = subprocess.run(pack_command(root), input=names, capture_output=True, check=True)
    subprocess.run(["sh", "-c", unpack_command(str(target))], input=packed.stdout, check=True)
    return packed.stderr.decode()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.sets(PATHS, min_size=1, max_size=12))
def test_it_brings_exactly_the_entries(files: set[bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    root, target = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp('node\'s "own"')
    for path in sorted(files):
        if not any(path.startswith(other + b"/") for other in files):
            full = os.path.join(os.fsencode(root), path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            Path(os.fsdecode(full)).write_bytes(path)
    (root / "left out").write_text("this is not asked for")
    cache = root.parent / f"{root.name}.cache"
    wanted = [entry.path for entry in scan_tree(root, cache) if entry.path != b"left out"]
    send(root, wanted, target)
    (root / "left out").unlink()
    assert scan_tree(target, cache) == scan_tree(root, cache)


def test_modes_are_those_of_a_release_and_times_are_kept(tmp_path: Path) -> None:
    root, target = tmp_path / "tree", tmp_path / "node"
    root.mkdir()
    target.mkdir()
    for name, mode in (("run", 0o4711), ("private", 0o600), ("open", 0o666)):
        (root / name).write_text(name)
        (root / name).chmod(mode)
        os.utime(root / name, (1_000_000_000, 1_000_000_000))
    os.link(root / "run", root / "again")
    (root / "folder").mkdir(mode=0o2770)
    (root / "link").symlink_to("run")
    umask = os.umask(0o077)
    try:
        send(root, [b"again", b"folder", b"link", b"open", b"private", b"run"], target)
    finally:
        os.umask(umask)
    modes = {
        path.name: stat.S_IMODE(path.lstat().st_mode) for path in target.iterdir() if path.name != "link"
    }
    assert modes == {"run": 0o755, "again": 0o755, "private": 0o644, "open": 0o644, "folder": 0o755}
    assert (target / "run").stat().st_nlink == 1
    assert (target / "run").stat().st_mtime == 1_000_000_000
    assert os.readlink(target / "link") == "run"


def test_it_tells_how_far_it_is(tmp_path: Path) -> None:
    root, target = tmp_path / "tree", tmp_path / "node"
    root.mkdir()
    target.mkdir()
    (root / "big").write_bytes(bytes(5 << 20))
    assert send(root, [b"big"], target).splitlines() == [f"tar: {16 * n}" for n in range(1, 6)]


@pytest.mark.parametrize(
    ("packed", "ours", "unpacked", "theirs", "kind", "words"),
    [
        (
            -13,
            "",
            255,
            "ssh: connect to host x port 22: Connection refused",
            Unreachable,
            "Connection refused",
        ),
        (-13, "", 255, "Host key verification failed.", AccessDenied, "host key"),
        (-13, "", 255, "aegir@x: Permission denied (publickey).", AccessDenied, "login"),
        (-13, "", 124, "", Unreachable, "status 124: no message"),
        (-13, "", -15, "", Unreachable, "broke off"),
        (-13, "", 2, "tar: ./a: Cannot write: No space left on device", CommandFailed, "disk is full"),
        (-13, "", 2, "tar: ./a: Cannot open: Permission denied", CommandFailed, "writing on the node failed"),
        (1, "tar: 16\ntar: ./a: file changed as we read it", 0, "", CommandFailed, "changed as we read it"),
        (-9, "", 2, "tar: Unexpected EOF in archive", CommandFailed, "on controller"),
        (2, "tar: ./a: Cannot stat: No such file or directory", 0, "", CommandFailed, "run again"),
    ],
)
def test_what_the_ends_mean(
    packed: int, ours: str, unpacked: int, theirs: str, kind: type[PackmasterError], words: str
) -> None:
    error = explain_failure("w1", Ended(packed, b"", ours.encode()), Ended(unpacked, b"", theirs.encode()))
    assert type(error) is kind
    assert words in str(error)
    assert "tar: 16" not in str(error)


def test_both_did_well() -> None:
    assert explain_failure("w1", Ended(0, b"", b"tar: 16\n"), Ended(0, b"", b"")) is None
