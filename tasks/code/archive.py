"""Fetch and unpack an archive without letting it write anywhere but into its own directory."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import shutil
import stat
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tasks.code.scan import check_link
from tasks.code.source import SourceSpec, split_user
from tasks.errors import PlanRefused, Unreachable

DOWNLOAD_BYTES = 2 * 1024**3
DOWNLOAD_SECONDS = 900.0
SILENCE_SECONDS = 30.0
UNPACKED_BYTES = 8 * 1024**3
MEMBERS = 1_000_000
CHUNK = 1 << 20
# What the two readers raise for archives that are damaged, encrypted, or link to what they do not hold.
BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive: a directory, a file (`open` gives its content) or a link to `target`."""

    name: str
    kind: str
    mode: int = 0o644
    size: int = 0
    target: str = ""
    open: Callable[[], IO[bytes] | None] = lambda: None


def download(spec: SourceSpec, file: Path) -> None:
    """`file` holds what the URL gives: bounded in bytes and time. Raises Unreachable and PlanRefused."""
    url, user = split_user(spec.location)
    request = urllib.request.Request(url, headers={"User-Agent": "packmaster"})  # noqa: S310 - http(s) only
    if user:
        # Unredirected: another host that the answer points to does not get it.
        token = base64.b64encode(f"{user}:".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {token}")
    ends = time.monotonic() + DOWNLOAD_SECONDS
    try:
        with (
            urllib.request.urlopen(request, timeout=SILENCE_SECONDS) as answer,  # noqa: S310
            file.open("wb") as out,
        ):
            taken = 0
            while chunk := answer.read(CHUNK):
                taken += len(chunk)
                if taken > DOWNLOAD_BYTES:
                    raise PlanRefused(f"{spec} is larger than {DOWNLOAD_BYTES:,} bytes")
                if time.monotonic() > ends:
                    raise Unreachable(spec.host, f"{spec} was not complete after {DOWNLOAD_SECONDS:.0f} s")
                out.write(chunk)
    except urllib.error.HTTPError as refused:
        if refused.code >= 500 or refused.code == 429:
            raise Unreachable(spec.host, f"{spec} answered {refused.code}") from refused
        raise PlanRefused(f"{spec} answered {refused.code} {refused.reason}", "Check the URL") from refused
    except (OSError, http.client.HTTPException) as lost:
        raise Unreachable(spec.host, f"{spec}: {lost}") from lost


def check_digest(file: Path, expected: str, shown: str) -> str:
    """Return the SHA-256 of a file; raise PlanRefused when it is not the expected one (if any)."""
    try:
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as unreadable:
        raise PlanRefused(f"the archive {shown} cannot be read: {unreadable.strerror}") from unreadable
    if expected and digest != expected:
        raise PlanRefused(
            f"the checksum of {shown} is wrong: {digest} instead of {expected}",
            "Do not use it before you know why: it was changed, or the download was cut short",
        )
    return digest


def unpack(file: Path, directory: Path, shown: str) -> None:
    """The members of a tar or zip archive are under `directory`; one that is not harmless refuses all."""
    links: list[tuple[Path, str]] = []
    taken = count = 0
    try:
        for member in _read_members(file):
            path, count, taken = _safe_path(member, directory, shown), count + 1, taken + member.size
            if taken > UNPACKED_BYTES or count > MEMBERS:
                raise PlanRefused(
                    f"{shown} unpacks to more than {UNPACKED_BYTES:,} bytes or {MEMBERS:,} entries"
                )
            if member.kind == "link":
                links.append((path, member.target))
                continue
            if member.kind == "directory":
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as out:
                _copy(member, out, shown)
            path.chmod(0o755 if member.mode & 0o111 else 0o644)
    except BROKEN as broken:
        raise PlanRefused(f"the archive {shown} cannot be unpacked: {broken}") from broken
    # Links last, so that nothing is ever written through one.
    for path, target in links:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(target)


def single_top(directory: Path) -> Path:
    """The one directory that an archive consists of, as forges and WordPress pack them; else `directory`."""
    found = list(directory.iterdir())
    return found[0] if len(found) == 1 and found[0].is_dir() and not found[0].is_symlink() else directory


def _read_members(file: Path) -> Iterator[Member]:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                yield _zip_member(archive, info)
        return
    with tarfile.open(file) as tar:
        for entry in tar:
            yield _tar_member(tar, entry)


def _tar_member(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> Member:
    if entry.isdir():
        return Member(entry.name, "directory")
    if entry.issym():
        return Member(entry.name, "link", target=entry.linkname)
    if entry.isreg() or entry.islnk():
        # extractfile follows a hard link to the member it names, and to nothing outside the archive.
        return Member(entry.name, "file", entry.mode, entry.size, open=lambda: tar.extractfile(entry))
    return Member(entry.name, "device")


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    mode = info.external_attr >> 16
    if info.is_dir():
        return Member(info.filename, "directory")
    if stat.S_ISLNK(mode):
        return Member(info.filename, "link", target=os.fsdecode(archive.read(info)))
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
        return Member(info.filename, "device")
    return Member(info.filename, "file", mode, info.file_size, open=lambda: archive.open(info))


def _safe_path(member: Member, directory: Path, shown: str) -> Path:
    parts = [part for part in member.name.split("/") if part not in {"", "."}]
    wrong = ""
    if member.name.startswith("/") or ".." in parts:
        wrong = "leaves the archive's tree"
    elif member.kind == "device":
        wrong = "is a device, socket or pipe"
    elif member.kind == "link":
        wrong = check_link(os.fsencode("/".join(parts)), os.fsencode(member.target))
    elif not parts and member.kind != "directory":
        wrong = "has no name"
    if wrong:
        raise PlanRefused(f"{member.name!a} in {shown} {wrong}", "Nothing of it was used")
    return directory.joinpath(*parts)


def _copy(member: Member, out: IO[bytes], shown: str) -> None:
    content = member.open()
    if content is None:
        raise PlanRefused(f"{member.name!a} in {shown} is a link to something that is not in it")
    with content:
        shutil.copyfileobj(content, out, CHUNK)
