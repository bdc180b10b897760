"""What is there of a platform on a node, read in one round trip."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from tasks.code.manifest import DIGEST_BYTES, Manifest, parse_manifest
from tasks.code.scripts import READ_FACTS
from tasks.errors import PlanRefused
from tasks.fleet import PLATFORMS
from tasks.names import check_slug
from tasks.ssh import Ssh

Audit = Literal["none", "current", "all"]
RELEASE = re.compile(r"[0-9]{14}-[0-9a-f]{12}")
LISTING_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Release:
    """A release on one node. `content` (the digest of its manifest) is empty unless it was verified there.

    `listing` is what was recorded when it was verified, `seen` what is there now (empty: not looked at).
    """

    name: str
    content: str = ""
    listing: str = ""
    seen: str = ""

    @property
    def verified(self) -> bool:
        return bool(self.content)

    @property
    def drifted(self) -> bool:
        """Somebody changed files of it after it was verified."""
        return bool(self.seen) and self.seen != self.listing


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """A platform on one node: its releases by age, which is current, what was left half done, free space."""

    releases: tuple[Release, ...] = ()
    current: str | None = None
    leftovers: tuple[str, ...] = ()
    free_bytes: int | None = None
    free_inodes: int | None = None
    not_writable: str = ""
    by_name: dict[str, Release] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {release.name: release for release in self.releases})

    @property
    def current_release(self) -> Release | None:
        """The release that is live and verified, or None."""
        release = self.by_name.get(self.current or "")
        return release if release is not None and release.verified else None


def platform_directory(platform: str) -> str:
    """The absolute path of a platform on every node; raises PlanRefused for a name that is not one."""
    return f"{PLATFORMS}/{check_slug(platform, 'platform name')}"


def check_release(name: str) -> str:
    """Return a release name as it is; raise PlanRefused for anything else."""
    if not RELEASE.fullmatch(name):
        raise PlanRefused(
            f"{name!a} is not the name of a release", "They look like 20260131120000-0123456789ab"
        )
    return name


def parse_code_facts(lines: str) -> CodeFacts:
    """Read what scripts.READ_FACTS printed."""
    releases: list[dict[str, str]] = []
    leftovers: list[str] = []
    facts: dict[str, str] = {}
    for line in lines.splitlines():
        word, _, rest = line.partition(" ")
        if word == "release" and RELEASE.fullmatch(rest):
            releases.append({"name": rest})
        elif word == "release":
            releases.append({})
        elif word == "note" and releases:
            note, _, value = rest.partition(" ")
            if note in {"content", "listing"} and len(value) == DIGEST_BYTES * 2:
                releases[-1][note] = value
        elif word == "seen" and releases:
            releases[-1]["seen"] = rest
        elif word == "leftover":
            leftovers.append(rest)
        else:
            facts[word] = rest
    free = [int(number) if number.isdigit() else None for number in facts.get("free", "- -").split()]
    current = facts.get("current", "").removeprefix("releases/")
    return CodeFacts(
        releases=tuple(
            Release(**r) for r in sorted(releases, key=lambda r: r.get("name", "")) if "name" in r
        ),
        current=current or None,
        leftovers=tuple(sorted(leftovers)),
        free_bytes=free[0],
        free_inodes=free[1],
        not_writable=facts.get("readonly", ""),
    )


def read_code_facts(ssh: Ssh, platform: str, audit: Audit = "current", content: str = "") -> CodeFacts:
    """Return what is there of `platform`, with listings made anew for no, the current or all releases.

    With `content`, a current release is only looked at when that is its content: one that is to be replaced
    is looked at when it is copied.
    """
    directory = platform_directory(platform)
    result = ssh.run_script(
        READ_FACTS,
        *(directory, audit, content),
        timeout=LISTING_SECONDS,
        meaning=f"cannot look at {directory}",
    )
    return parse_code_facts(result.text)


def read_manifest(ssh: Ssh, platform: str, release: str) -> Manifest:
    """Return the manifest of a verified release as the node has it; raises DamagedManifest, CommandFailed."""
    path = f"{platform_directory(platform)}/manifests/{check_release(release)}"
    return parse_manifest(ssh.run(["cat", "--", path], meaning="cannot read a manifest").out)
