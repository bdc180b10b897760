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

    @classmethod
    def of_text(cls, text: bytes) -> Manifest:
        """The manifest with this written form, which is read when its entries are asked for: DamagedManifest
        comes then, if ever, so compare the digest before."""
        made = cls.__new__(cls)
        made.text = text
        return made

    @cached_property
    def _entries(self) -> tuple[Entry, ...]:
        return tuple(sorted(read_entries(self.written)))

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self.written)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Manifest) and self.text == other.text

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
    def written(self) -> tuple[bytes, ...]:
        """What is written of each entry, in order."""
        return tuple(_split_records(self.text))

    @cached_property
    def records(self) -> frozenset[bytes]:
        """What is written of each entry: of two manifests, the quickest way to what is different."""
        return frozenset(self.written)

    @cached_property
    def digest(self) -> str:
        """The digest of the written form: what identifies the content of a release."""
        return new_hash(self.text).hexdigest()

    @cached_property
    def structure(self) -> str:
        """What `find … | sort -z | b2sum` prints on a node that has exactly these entries (see scripts)."""
        return digest_of_lines(map(describe_structure, self))


def new_hash(data: bytes = b"") -> hashlib.blake2b:
    """The hash that digests are made with; `b2sum -l 256` on a node."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES)


def digest_of_contents(entries: Iterable[Entry]) -> str:
    """What `xargs -0 b2sum -z | b2sum` prints for these files, in this order."""
    lines = (b"%s  ./%s\0" % (e.digest.encode(), e.path) for e in entries if e.kind == "f")
    return new_hash(b"".join(lines)).hexdigest()


@lru_cache(maxsize=4)
def recall_manifest(text: bytes) -> Manifest:
    """The manifest of a written form, the same one for every host of a fleet that asks; not read yet."""
    return Manifest.of_text(text)


def parse_manifest(text: bytes) -> Manifest:
    """Read the written form back; lines that begin with `#:` (a node's notes) before it are skipped.

    Raises DamagedManifest.
    """
    return Manifest(read_entries(_split_records(text)))


def read_entries(records: Iterable[bytes]) -> list[Entry]:
    """The entries of some records, in their order; raises DamagedManifest."""
    try:
        return [_read_entry(record) for record in records]
    except (ValueError, IndexError) as unreadable:
        raise DamagedManifest(f"a manifest cannot be read: {ascii(unreadable)[:200]}") from unreadable


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


def _split_records(text: bytes) -> list[bytes]:
    """What is written of each entry: a name has no newline there, and a file's second line is a digest."""
    notes, header, body = text.partition(HEADER)
    noted = all(line.startswith(b"#:") for line in notes.splitlines())
    whole = not body or (body.startswith(b"# ") and body.endswith(b"\n"))
    if not (header and noted and whole):
        raise DamagedManifest(f"this is no whole manifest: {text[:80]!a}")
    return body[2:-1].split(b"\n# ") if body else []


def _read_entry(record: bytes) -> Entry:
    kind, rest = record[:2], record[2:]
    if kind == b"f ":
        numbers, _, line = rest.partition(b"\n")
        mode, _, size = numbers.partition(b" ")
        name, digest = _split_check_line(line)
        return Entry(name, "f", int(mode, 8), int(size), digest)
    if kind == b"d ":
        mode, _, name = rest.partition(b" ")
        return Entry(unescape(name), "d", int(mode, 8))
    if kind == b"l ":
        path, _, target = rest.partition(b"\0")
        return Entry(unescape(path), "l", target=unescape(target))
    raise ValueError(record)


def _split_check_line(line: bytes) -> tuple[bytes, str]:
    escaped = line.startswith(b"\\")
    digest, separator, name = line.lstrip(b"\\").partition(b"  ./")
    if not separator or len(digest) != DIGEST_BYTES * 2:
        raise ValueError(line)
    return (unescape(name) if escaped else name), digest.decode("ascii")


def digest_of_lines(lines: Iterable[bytes]) -> str:
    """What `sort -z | b2sum` prints for these lines."""
    return new_hash(b"".join(line + b"\0" for line in sorted(lines))).hexdigest()


def describe_structure(entry: Entry) -> bytes:
    """An entry as walks.STRUCTURE prints it: all but its content."""
    if entry.kind == "d":
        return b"d %o\t%s" % (entry.mode, entry.path)
    if entry.kind == "l":
        return b"l\t%s\t%s" % (entry.path, entry.target)
    return b"f %o %d\t%s" % (entry.mode, entry.size, entry.path)
