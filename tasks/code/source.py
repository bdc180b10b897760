"""Where code comes from: a directory, a git repository, or an archive; checked before anything is fetched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from tasks.errors import PlanRefused
from tasks.names import refuse_password

SourceKind = Literal["directory", "git", "archive"]

ARCHIVE_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
_GIT_SCHEMES = frozenset({"git", "ssh", "git+ssh", "git+http", "git+https", "git+file"})
_SCP_LIKE = re.compile(r"(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*:(?!//)[^\s]+")
# git-check-ref-format(1), and narrower: nothing that a shell, an option parser or a refspec treats specially.
_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+@=-]*")
_SECRETS = re.compile(r"(?<=://)[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """A source as it was asked for. `ref` is for git only; `checksum` (SHA-256, hex) for archives only."""

    kind: SourceKind
    location: str
    ref: str = ""
    checksum: str = ""

    def __str__(self) -> str:
        return without_secrets(self.location) + (f" at {self.ref}" if self.ref else "")

    def __repr__(self) -> str:
        return f"SourceSpec({self.kind}, {self})"

    @property
    def is_url(self) -> bool:
        return "://" in self.location

    @property
    def host(self) -> str:
        """The host it is fetched from, for messages; `controller` for a path."""
        if self.is_url:
            return urlsplit(self.location).hostname or "controller"
        if self.kind == "git" and not self.location.startswith("/"):
            return self.location.partition(":")[0].rpartition("@")[2]
        return "controller"


def parse_source(text: str, ref: str = "", checksum: str = "") -> SourceSpec:
    """Tell what kind of source `text` is. Raises PlanRefused for anything doubtful; nothing is opened.

    Directories and archives are absolute paths on the controller; archives may be http(s) URLs, which need a
    SHA-256 checksum. A repository is a URL that ends in .git, has a git scheme or comes with a ref, or a path
    with a ref.
    """
    location, ref = text.strip(), ref.strip()
    refuse_password(location)
    _check_text(location)
    kind, location = _tell_kind(location, ref)
    if kind == "git":
        if checksum:
            raise PlanRefused("a checksum is for archives", "For git, give a commit as the ref")
        return SourceSpec(kind, location, check_ref(ref or "HEAD"))
    if ref:
        raise PlanRefused(f"a ref ({ref!a}) is for git repositories, and {without_secrets(location)} is none")
    digest = _check_checksum(checksum)
    if kind == "directory" and digest:
        raise PlanRefused("a checksum is for archives, and the source is a directory")
    if kind == "archive" and "://" in location and not digest:
        raise PlanRefused(
            f"the archive {without_secrets(location)} comes without a checksum",
            "Give the SHA-256 that its publisher states, or that you computed from a copy you trust",
        )
    return SourceSpec(kind, location, checksum=digest)


def check_ref(ref: str) -> str:
    """Return a branch, tag or commit as it is; raise PlanRefused for what git could misunderstand."""
    if (
        not _REF.fullmatch(ref)
        or ".." in ref
        or "@{" in ref
        or "//" in ref
        or ref.endswith((".lock", "/", "."))
    ):
        raise PlanRefused(
            f"{ref!a} is not a branch, tag or commit", "Give a name such as main, v1.2 or a commit"
        )
    return ref


def without_secrets(text: str) -> str:
    """Text with user names and passwords taken out of every URL in it."""
    return _SECRETS.sub("", text)


def split_user(url: str) -> tuple[str, str]:
    """Return the URL without its user name, and that name decoded (or empty); it may be a token."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or parts.username is None:
        return url, ""
    address = parts.netloc.rpartition("@")[2]
    bare = urlunsplit((parts.scheme, address, parts.path, parts.query, parts.fragment))
    return bare, unquote(parts.username)


def _check_text(location: str) -> None:
    if not location:
        raise PlanRefused("the source is empty", "Give a directory, a git URL or an archive")
    if location.startswith("-") or any(ord(c) < 32 or ord(c) == 127 for c in location):
        raise PlanRefused(
            f"the source {location!a} is neither a path nor a URL",
            "It has control characters or starts with -",
        )


def _tell_kind(location: str, ref: str) -> tuple[SourceKind, str]:
    scheme = location.partition("://")[0] if "://" in location else ""
    plain = location.partition("?")[0].rstrip("/")
    if scheme in _GIT_SCHEMES:
        return "git", location.removeprefix("git+") if scheme != "git+ssh" else location
    if scheme in {"http", "https", "file"}:
        if plain.lower().endswith(ARCHIVE_ENDINGS) and not ref and scheme != "file":
            return "archive", location
        if plain.endswith(".git") or ref:
            return "git", location
        raise PlanRefused(
            f"it is unclear what {without_secrets(location)} is",
            f"A repository needs a ref or ends in .git; an archive ends in {', '.join(ARCHIVE_ENDINGS)}",
        )
    if scheme:
        raise PlanRefused(f"sources are not fetched over {scheme!a}", "Use https, ssh, git, or a path")
    if location.startswith("/"):
        if plain.lower().endswith(ARCHIVE_ENDINGS) and not ref:
            return "archive", location
        return ("git" if ref or plain.endswith(".git") else "directory"), location
    if _SCP_LIKE.fullmatch(location) and "::" not in location:
        return "git", location
    raise PlanRefused(
        f"the source {location!a} is not an absolute path", "Give its full path on the controller"
    )


def _check_checksum(checksum: str) -> str:
    digest = checksum.strip().lower().removeprefix("sha256:")
    if digest and not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise PlanRefused(f"{checksum!a} is not a SHA-256 checksum", "It has 64 hexadecimal digits")
    return digest
