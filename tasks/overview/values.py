"""What the overview shows, as values; everything of it was published by some run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["member", "master", "slave", "nfs server", "standby"]
# The steps in whose details a run says which release is current, and what stands behind it there.
RELEASE_STEPS = ("switch", "switch back", "verify release", "release", "follow")
BEHIND = " is as it was deployed"


@dataclass(frozen=True, slots=True)
class Machine:
    """A server in its group; `verdict` is what check-share last said of its mounts or exports."""

    name: str
    role: Role
    kind: str = ""
    verdict: str = ""

    @property
    def well(self) -> bool:
        return self.verdict in {"", "OK", "SLOW"}


@dataclass(frozen=True, slots=True)
class Group:
    """A cluster, a pack, or a single server that carries a platform."""

    kind: str
    name: str
    machines: tuple[Machine, ...]
    share: str = ""

    @property
    def troubled(self) -> tuple[Machine, ...]:
        return tuple(machine for machine in self.machines if not machine.well)


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
