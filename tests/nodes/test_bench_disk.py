"""The file system that the benchmark puts its nodes' code on."""

from __future__ import annotations

from pathlib import Path

from bench import disk

MOUNTS = Path("/proc/mounts")


def test_it_has_a_journal_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    point, image = tmp_path / "disk", tmp_path / "disk.img"
    disk.mount(point, 64 * 2**20)
    try:
        (point / "file").write_text("content")
        (mounted,) = (line for line in MOUNTS.read_text().splitlines() if str(point) in line)
        device = Path(mounted.split()[0]).name
        assert list(Path("/proc/fs/jbd2").glob(f"{device}-*"))
        disk.mount(point, 64 * 2**20)
        assert not (point / "file").exists(), "a new one, and not another on top"
        assert MOUNTS.read_text().count(str(point)) == 1
    finally:
        disk.unmount(point)
    assert not point.is_mount()
    assert not image.exists()
