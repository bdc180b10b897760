"""What the overview shows, as values; everything of it was published by some run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

Role = Literal["member", "master", "slave", "nfs server", "standby"]
# The steps in whose details a run says which release is current, and what stands behind it there.
RELEASE_STEPS = ("switch", "switch back", "verify release", "release", "follow")
BEHIND = " is as it was deployed"
# check-share says something each minute: what is older than this, nobody watches over any more.
WATCH_LIMIT = timedelta(minutes=10)
OLD = "OLD"
# What a run that repairs grants leaves, for it is of others.
OTHERS = frozenset({"ADOPTION_REQUIRED", "SHADOWED", "BROADER"})


@dataclass(frozen=True, slots=True)
class Machine:
    """A server in its group; `verdict` is what check-share last said of its mounts or exports, or what
    sync-standby said of its copy. It is `OLD` when nobody looked at it lately.
    """

    name: str
    role: Role
    kind: str = ""
    verdict: str = ""
    detail: str = ""

    @property
    def well(self) -> bool:
        return self.verdict in {"", "OK", "SLOW"}


@dataclass(frozen=True, slots=True)
class Group:
    """A cluster, a pack, or a single server that carries a platform; `watched` is when its share last was."""

    kind: str
    name: str
    machines: tuple[Machine, ...]
    share: str = ""
    watched: datetime | None = None

    @property
    def troubled(self) -> tuple[Machine, ...]:
        return tuple(machine for machine in self.machines if not machine.well and machine.verdict != OLD)


@dataclass(frozen=True, slots=True)
class Releases:
    """Which release each host had when a run last said so, when that was, and what failed in that run."""

    by_host: Mapping[str, str] = field(default_factory=dict)
    seen: str = ""
    failed: tuple[str, ...] = ()

    def __str__(self) -> str:
        hosts: dict[str, list[str]] = {}
        for host, release in sorted(self.by_host.items()):
            hosts.setdefault(release, []).append(host)
        if len(hosts) == 1:
            return next(iter(hosts))
        return "; ".join(f"{release} on {', '.join(names)}" for release, names in hosts.items())


@dataclass(frozen=True, slots=True)
class PlatformView:
    """A platform, where it is, which release is current, and the sites on it."""

    name: str
    on: str
    profile: str
    releases: Releases
    sites: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a run that compares found at `seen`, in the table `table`: `left` is what it did not repair,
    `unknown` what it could not look at.
    """

    table: str
    seen: datetime
    left: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def is_old(seen: datetime | None, now: datetime) -> bool:
    """Whether nobody watches over a share any more."""
    return seen is None or now - seen > WATCH_LIMIT


def read_differences(rows: Iterable[Mapping[str, str]], *, repaired: bool = False) -> tuple[str, ...]:
    """What the rows of a drift table name that was not repaired, by the row or by the run as a whole."""
    left = [row for row in rows if "difference" in row or "kind" in row]
    if repaired:
        left = [row for row in left if row.get("kind") in OTHERS or row.get("site") == "-"]
    return tuple(_tell_difference(row) for row in left if row.get("result") != "repaired")


def _tell_difference(row: Mapping[str, str]) -> str:
    if "difference" in row:
        return f"{row.get('host', '')}: {row.get('subject', '')}: {row['difference']}"
    return f"{row.get('site', '')}: {row['kind']}: {row.get('account', '')} {row.get('detail', '')}".strip()


def read_releases(rows: Iterable[Mapping[str, str]], seen: str) -> Releases:
    """What the rows of an outcome table say about releases."""
    by_host: dict[str, str] = {}
    failed: list[str] = []
    for row in rows:
        if row.get("result") == "failed":
            failed.append(f"{row['host']}: {row['step']}")
        elif row.get("step") in RELEASE_STEPS:
            release = row["detail"].removesuffix(BEHIND).partition(" ")[0]
            by_host[row["host"]] = release
    return Releases(by_host, seen, tuple(failed))
