"""What the nodes' code is written to: a file system as servers have it, whatever this machine's own is.

ext4 without a journal does not use an inode again for five minutes after it was freed, and looks at each that
it passes over (`recently_deleted` in fs/ext4/ialloc.c): every deletion makes what comes after it slower. A
cold run took 23 s as the first, and 50 s after three others. With a journal it is five seconds.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# Of a sparse file: eight nodes, five contenders, some releases of each.
SIZE = 24 * 2**30
BYTES_AN_INODE = 8192
MKFS_SECONDS = 300


def mount(point: Path, size: int = SIZE) -> None:
    """An empty file system of `size` bytes is mounted there; raises CalledProcessError where that fails."""
    unmount(point)
    point.mkdir(parents=True, exist_ok=True)
    image = _image_of(point)
    with image.open("wb") as file:
        os.ftruncate(file.fileno(), size)
    # Laid out at once, for nothing is to be made in the background while something is measured.
    features = ("-E", "lazy_itable_init=0,lazy_journal_init=0", "-i", str(BYTES_AN_INODE))
    _run("mkfs.ext4", "-q", "-F", *features, str(image))
    _run("mount", "-o", "loop,noatime", str(image), str(point))


def unmount(point: Path) -> None:
    """Nothing is mounted there, and what was written is gone."""
    if point.is_mount():
        _run("umount", str(point))
    _image_of(point).unlink(missing_ok=True)


def _image_of(point: Path) -> Path:
    return point.with_suffix(".img")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=MKFS_SECONDS, stdin=subprocess.DEVNULL)
