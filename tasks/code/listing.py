"""What is in a release on a node, entry by entry, beside what should be: only read when digests disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.code.manifest import Entry, Kind, Manifest

NAMES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """Paths that are missing, extra or changed on a node, as they are shown to a person."""

    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.changed)

    def __str__(self) -> str:
        kinds = {"missing": self.missing, "extra": self.extra, "changed": self.changed}
        parts = []
        for kind, names in kinds.items():
            if names:
                more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
                parts.append(f"{len(names)} {kind}: {', '.join(names[:NAMES_SHOWN])}{more}")
        return "; ".join(parts) or "no difference"


def parse_listing(printed: bytes) -> dict[bytes, Entry]:
    """Read what scripts.READ_LISTING printed: entries, an empty record, then contents."""
    found, _, contents = (
        printed.partition(b"\0\0") if not printed.startswith(b"\0") else (b"", b"", printed[1:])
    )
    digests = dict(_split_content(record) for record in contents.split(b"\0") if record)
    entries: dict[bytes, Entry] = {}
    for record in found.split(b"\0"):
        head, _, rest = record.partition(b"\t")
        kind, *numbers = head.split(b" ")
        if kind == b"d":
            entries[rest] = Entry(rest, "d", int(numbers[0], 8))
        elif kind == b"f":
            digest = digests.get(rest, "unreadable")
            entries[rest] = Entry(rest, "f", int(numbers[0], 8), int(numbers[1]), digest)
        elif kind == b"l":
            path, _, target = rest.partition(b"\t")
            entries[path] = Entry(path, "l", target=target)
        elif record:
            entries[rest] = Entry(rest, _no_kind(kind))
    return entries


def compare_listing(manifest: Manifest, found: Mapping[bytes, Entry]) -> Difference:
    """The Difference from the manifest to what was found."""
    wanted = manifest.by_path
    return Difference(
        missing=tuple(_shown(path) for path in wanted if path not in found),
        extra=tuple(_shown(path) for path in sorted(found) if path not in wanted),
        changed=tuple(_shown(p) for p, entry in wanted.items() if p in found and found[p] != entry),
    )


def _split_content(record: bytes) -> tuple[bytes, str]:
    digest, _, name = record.partition(b"  ./")
    return name, digest.decode("ascii", "replace")


def _no_kind(kind: bytes) -> Kind:
    """A device or socket equals nothing that can be in a manifest, whatever kind it is filed under."""
    return "l"


def _shown(path: bytes) -> str:
    return ascii(path.decode("utf-8", "surrogateescape"))
