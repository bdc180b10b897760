"""What leads from one release to the next: compared as written, so that only entries that differ are read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from tasks.code.manifest import Entry, Manifest, describe_structure, digest_of_lines, read_entries


@dataclass(frozen=True, slots=True)
class Change:
    """What has to happen to a hard-linked copy of one release to make it another one.

    `unlinked` are paths to take away first, children before their directories; `sent` is to be transferred.
    `replaced` are the old release's entries that the new one has not, or has otherwise.
    """

    unlinked: tuple[bytes, ...]
    sent: tuple[Entry, ...]
    replaced: tuple[Entry, ...] = ()

    @property
    def size(self) -> int:
        """Bytes to transfer."""
        return sum(entry.size for entry in self.sent)

    @property
    def structure(self) -> str:
        """What a node prints that digests how the structure after it differs from that before (comm(1))."""
        after = [b"\t" + describe_structure(entry) for entry in self.sent]
        return digest_of_lines([*map(describe_structure, self.replaced), *after])

    @property
    def is_plain(self) -> bool:
        """Whether all of it shows in the structure: nothing is replaced by its like with another content."""
        return {*map(describe_structure, self.replaced)}.isdisjoint(map(describe_structure, self.sent))

    @property
    def keys(self) -> bytes:
        """The keys of all entries that may differ afterwards, NUL-terminated, sorted.

        A key is what follows the kind in a listing (walks.LISTING): a path, for a link its target too.
        """
        entries = (*self.sent, *self.replaced)
        keys = {entry.path + b"\t" + entry.target if entry.kind == "l" else entry.path for entry in entries}
        return b"".join(key + b"\0" for key in sorted(keys))


def describe_change(base: Manifest | None, manifest: Manifest) -> Change:
    """What is to happen to a copy of `base`, or to an empty directory."""
    return Change((), tuple(manifest)) if base is None else compare_manifests(base, manifest)


@lru_cache(maxsize=4)
def compare_manifests(old: Manifest, new: Manifest) -> Change:
    """The Change from `old` to `new`. A changed file is taken away and sent, for its inode is shared."""
    replaced = tuple(sorted(read_entries(old.records - new.records)))
    sent = tuple(sorted(read_entries(new.records - old.records)))
    after = {entry.path: entry for entry in sent}
    gone = [entry.path for entry in replaced if _must_go(entry, after.get(entry.path))]
    return Change(tuple(reversed(gone)), sent, replaced)


def _must_go(old: Entry, new: Entry | None) -> bool:
    return new is None or not (old.kind == "d" and new.kind == "d")
