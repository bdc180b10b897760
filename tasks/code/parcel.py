"""What goes to the hosts: made once for all that need the same, however many there are."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath

from tasks.code.change import Change, describe_change
from tasks.code.edit import write_edit
from tasks.code.manifest import Entry, Manifest, digest_of_contents
from tasks.code.scan import check_relative
from tasks.errors import PlanRefused
from tasks.fleet import SITES

# Up to here it is quicker to send the files with the manifest, over the connection that is open already,
# than to log in again: eight logins cost a controller as much as rsync's whole work.
PAYLOAD_BYTES = 4 * 1024 * 1024
_making = threading.Lock()

Named = tuple[tuple[str, bytes], ...]
Links = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Parcel:
    """The way from one release to the next: `apart` is transferred, `payload` is unpacked beside it.

    `names` are how rsync is told of `apart`. `structure`, `difference` and `contents` are what a node has
    to find afterwards: the digests of the whole release's structure (empty where that of the difference says
    as much), of its difference from the base's, and of the contents of what was sent.
    """

    structure: str
    difference: str
    contents: str
    apart: tuple[Entry, ...] = field(repr=False)
    names: tuple[bytes, ...] = field(repr=False)
    payload: bytes = field(repr=False)


def fits_payload(base: Manifest | None, change: Change) -> bool:
    """Whether all that is sent is in the payload, so that nothing is left to be transferred apart."""
    return base is not None and change.size <= PAYLOAD_BYTES


def make_parcel(
    release: str, manifest: Manifest, base: Manifest | None, tree: Path, overlay: Named, links: Links
) -> Parcel:
    """Return what a host with `base` (None: with nothing) needs for `release`; the same one for every host.

    Raises PlanRefused when the source has changed since it was scanned, or a link is not one of ours.
    """
    with _making:
        return _make(release, manifest, base, tree, overlay, links)


@lru_cache(maxsize=4)
def _make(
    release: str, manifest: Manifest, base: Manifest | None, tree: Path, overlay: Named, links: Links
) -> Parcel:
    change = describe_change(base, manifest)
    ours = _only_in_overlay(tree, [path for path, _ in overlay])
    theirs = tuple(entry for entry in change.sent if entry.path not in ours)
    inline = fits_payload(base, change)
    top = f"releases/.staging-{release}"
    packed = io.BytesIO()
    with tarfile.open(
        fileobj=packed,
        mode="w:gz",
        compresslevel=1,
        format=tarfile.GNU_FORMAT,
        encoding="utf-8",
        errors="surrogateescape",
    ) as archive:
        for entry in theirs if inline else ():
            _add_entry(archive, f"{top}/{os.fsdecode(entry.path)}", entry, tree)
        for path, content in overlay:
            _add_file(archive, f"{top}/{path}", content)
        paths = b"".join(b"./%s\0" % entry.path for entry in change.sent if entry.kind == "f")
        _add_file(archive, f"manifests/.sent-{release}", paths)
        if base is None:
            _add_file(archive, f"manifests/.new-{release}", manifest.text)
        else:
            _add_file(archive, f"manifests/.keys-{release}", change.keys)
            script, lines = write_edit(base, manifest, f".inserted-{release}")
            _add_file(archive, f"manifests/.edit-{release}", script)
            _add_file(archive, f"manifests/.inserted-{release}", lines)
        for path, target in links:
            if not target.startswith(f"{SITES}/") or ".." in target.split("/"):
                raise PlanRefused(f"{target!a} is no data directory of a site", f"They are under {SITES}")
            _add_link(archive, f"{top}/{check_relative(path)}", target)
    apart = () if inline else theirs
    structure = "" if base is not None and change.is_plain else manifest.structure
    digests = (structure, change.structure, digest_of_contents(change.sent))
    return Parcel(*digests, apart, name_for_rsync(apart, tree), packed.getvalue())


def name_for_rsync(entries: Iterable[Entry], tree: Path) -> tuple[bytes, ...]:
    """The names that make `rsync --files-from` bring exactly these entries of the tree.

    A directory all of whose entries are to go is one name, with a slash behind it (its contents, but not
    theirs): rsync reads names byte by byte, and 22,000 of them cost it more than the files.
    """
    inside: dict[bytes, set[bytes]] = {}
    for entry in entries:
        folder, _, name = entry.path.rpartition(b"/")
        inside.setdefault(folder, set()).add(name)
    names: list[bytes] = []
    for folder, wanted in inside.items():
        prefix = folder + b"/" if folder else b""
        whole = wanted == _list_directory(os.path.join(os.fsencode(tree), folder))
        names += [prefix] if whole else [prefix + name for name in sorted(wanted)]
    return tuple(names)


def _list_directory(path: bytes) -> set[bytes]:
    """What is in it now; nothing when it has vanished, so that rsync will say what is missing."""
    try:
        return set(os.listdir(path))
    except OSError:
        return set()


def _only_in_overlay(tree: Path, overlay: Iterable[str]) -> set[bytes]:
    """The overlay's files, and those of its directories that the source does not have."""
    ours: set[bytes] = set()
    for path in overlay:
        ours.add(os.fsencode(path))
        ours |= {os.fsencode(str(up)) for up in PurePosixPath(path).parents if not (tree / up).is_dir()}
    return ours


def _add_entry(archive: tarfile.TarFile, name: str, entry: Entry, tree: Path) -> None:
    source = os.path.join(os.fsencode(tree), entry.path)
    if entry.kind == "d":
        member = tarfile.TarInfo(name)
        member.type, member.mode = tarfile.DIRTYPE, entry.mode
        archive.addfile(member)
    elif entry.kind == "l":
        _add_link(archive, name, os.fsdecode(entry.target))
    else:
        try:
            with open(source, "rb") as file:
                content, changed = file.read(), os.fstat(file.fileno()).st_mtime
        except OSError as vanished:
            raise PlanRefused(
                f"the source has changed while it was read: {vanished}", "Run it again"
            ) from None
        _add_file(archive, name, content, entry.mode, changed)


def _add_file(
    archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644, changed: float = 0
) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(content), mode, changed
    archive.addfile(member, io.BytesIO(content))


def _add_link(archive: tarfile.TarFile, name: str, target: str) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    archive.addfile(member)
