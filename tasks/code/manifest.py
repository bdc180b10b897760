"""What a release consists of: a frozen, sorted list of its directories, files and links.

Paths are bytes, for a file name is bytes: newlines, names that are not UTF-8 and 255-byte names all work.
Modification times are left out on purpose: the same content from a fresh clone is the same release.

The written form is a check file that `b2sum -c` on a node understands: files are its lines, everything else
is in comments. BLAKE2b with 256 bits, because for 20,000 files (180 MB) coreutils' b2sum takes 0.5 s where
its sha256sum takes 0.9 s, and hashlib is about equally fast with both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple

from tasks.errors import PackmasterError
from tasks.fleet import SITES

Kind = Literal["d", "f", "l"]
HEADER = b"# packmaster manifest 1\n"
DIGEST_BYTES = 32
# Links that we put into a release lead here; nothing in a source can (absolute links are refused).
SITE_LINK_PREFIX = f"{SITES}/".encode()


class DamagedManifest(PackmasterError):  # noqa: N818 - reads as the verdict it is
    """A manifest cannot be read back, or is not the one its digest says."""


class Entry(NamedTuple):
    """One directory (`d`), file (`f`) or symbolic link (`l`); `size` is in bytes, `digest` is hex."""

    path: bytes
    kind: Kind
    mode: int = 0
    size: int = 0
    digest: str = ""
    target: bytes = b""


class Manifest:
    """An immutable set of entries, ordered by path; equal when the content is equal.

    Not a dataclass: Prefect looks into dataclasses that are given to tasks, and this one has 20,000 entries.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = tuple(sorted(entries))

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Manifest) and self._entries == other._entries

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Manifest({self.digest[:12]}, {self.files} files, {self.size} bytes)"

    @cached_property
    def by_path(self) -> dict[bytes, Entry]:
        return {entry.path: entry for entry in self._entries}

    @cached_property
    def files(self) -> int:
        return sum(1 for entry in self._entries if entry.kind == "f")

    @cached_property
    def size(self) -> int:
        """Bytes in all files together."""
        return sum(entry.size for entry in self._entries)

    @cached_property
    def text(self) -> bytes:
        """The written form; `parse_manifest` reads it back."""
        return HEADER + b"".join(map(_write_entry, self._entries))

    @cached_property
    def digest(self) -> str:
        """The digest of the written form: what identifies the content of a release."""
        return new_hash(self.text).hexdigest()

    @cached_property
    def structure(self) -> str:
        """What `find … | sort -z | b2sum` prints on a node that has exactly these entries (see scripts)."""
        return new_hash(b"".join(line + b"\0" for line in sorted(map(_structure, self)))).hexdigest()


def new_hash(data: bytes = b"") -> hashlib.blake2b:
    """The hash that digests are made with; `b2sum -l 256` on a node."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES)


def digest_of_contents(entries: Iterable[Entry]) -> str:
    """What `xargs -0 b2sum -z | b2sum` prints for these files, in this order."""
    lines = (b"%s  ./%s\0" % (e.digest.encode(), e.path) for e in entries if e.kind == "f")
    return new_hash(b"".join(lines)).hexdigest()


@lru_cache(maxsize=4)
def parse_manifest(text: bytes) -> Manifest:
    """Read the written form back; lines that begin with `#:` (a node's notes) are skipped.

    The same one for the same text, for every host of a fleet asks. Raises DamagedManifest.
    """
    entries: list[Entry] = []
    mode, size = 0, 0
    try:
        for line in text.split(b"\n"):
            if line.startswith((b"#:", HEADER[:-1])) or not line:
                continue
            if not line.startswith(b"#"):
                name, digest = _split_check_line(line)
                entries.append(Entry(name, "f", mode, size, digest))
                continue
            _, kind, *fields = line.split(b" ", 3)
            if kind == b"f":
                mode, size = int(fields[0], 8), int(fields[1])
            elif kind == b"d":
                entries.append(Entry(unescape(b" ".join(fields[1:])), "d", int(fields[0], 8)))
            elif kind == b"l":
                path, _, target = b" ".join(fields).partition(b"\0")
                entries.append(Entry(unescape(path), "l", target=unescape(target)))
            else:
                raise ValueError(line)
    except (ValueError, IndexError) as unreadable:
        raise DamagedManifest(f"a manifest cannot be read: {ascii(unreadable)[:200]}") from unreadable
    return Manifest(entries)


def escape(name: bytes) -> bytes:
    r"""Write a name as coreutils do in check files: `\` as `\\` and a newline as `\n`."""
    return name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")


def unescape(name: bytes) -> bytes:
    """The name that `escape` was given; raises ValueError for anything else."""
    if b"\\" not in name:
        return name
    pieces = name.split(b"\\\\")
    for piece in pieces:
        if piece.replace(b"\\n", b"").count(b"\\"):
            raise ValueError(name)
    return b"\\".join(piece.replace(b"\\n", b"\n") for piece in pieces)


def _write_entry(entry: Entry) -> bytes:
    name = escape(entry.path)
    if entry.kind == "d":
        return b"# d %04o %s\n" % (entry.mode, name)
    if entry.kind == "l":
        return b"# l %s\0%s\n" % (name, escape(entry.target))
    mark = b"\\" if name != entry.path else b""
    return b"# f %04o %d\n%s%s  ./%s\n" % (entry.mode, entry.size, mark, entry.digest.encode(), name)


def _split_check_line(line: bytes) -> tuple[bytes, str]:
    escaped = line.startswith(b"\\")
    digest, separator, name = line.lstrip(b"\\").partition(b"  ./")
    if not separator or len(digest) != DIGEST_BYTES * 2:
        raise ValueError(line)
    return (unescape(name) if escaped else name), digest.decode("ascii")


def _structure(entry: Entry) -> bytes:
    if entry.kind == "d":
        return b"d %o\t%s" % (entry.mode, entry.path)
    if entry.kind == "l":
        return b"l\t%s\t%s" % (entry.path, entry.target)
    return b"f %o %d\t%s" % (entry.mode, entry.size, entry.path)


@dataclass(frozen=True, slots=True)
class Change:
    """What has to happen to a hard-linked copy of one release to make it another one.

    `unlinked` are paths to take away first, children before their directories; `sent` is to be transferred.
    """

    unlinked: tuple[bytes, ...]
    sent: tuple[Entry, ...]

    @property
    def size(self) -> int:
        """Bytes to transfer."""
        return sum(entry.size for entry in self.sent)


def compare_manifests(old: Manifest, new: Manifest) -> Change:
    """The Change from `old` to `new`. A changed file is taken away and sent, for its inode is shared."""
    before, after = old.by_path, new.by_path
    sent = tuple(entry for entry in new if before.get(entry.path) != entry)
    gone = [entry.path for entry in old if _must_go(entry, after.get(entry.path))]
    return Change(tuple(reversed(gone)), sent)


def _must_go(old: Entry, new: Entry | None) -> bool:
    if new is None:
        return True
    return old != new and not (old.kind == "d" and new.kind == "d")
