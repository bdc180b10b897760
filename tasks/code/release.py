"""What a release plan says, host by host: plain frozen values that print well."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from tasks.errors import PlanRefused


@dataclass(frozen=True, slots=True)
class Size:
    """What a transfer needs: `files` counts inodes, directories included; `bytes` is their content."""

    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Desired:
    """The release to have: the digest of its manifest, and what it takes from nothing or from a known base.

    `bases` maps the digest of a release that may be hard-linked to the size of the difference to it.
    """

    content: str
    full: Size
    bases: Mapping[str, Size]


@dataclass(frozen=True, slots=True)
class HostPlan:
    """What happens on one host. `base` is the release to hard-link from, `previous` what is current now."""

    host: str
    stage: bool = False
    base: str | None = None
    base_content: str = ""
    size: Size = Size(0, 0)
    switch: bool = False
    previous: str | None = None
    prune: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.stage or self.switch or bool(self.prune)

    def __str__(self) -> str:
        return f"{self.host}: {self.describe()}"

    def describe(self) -> str:
        """What is done, in order, as an operator reads it."""
        words = []
        if self.stage:
            source = f"from {self.base}" if self.base else "whole"
            words.append(f"stage {source} ({self.size.files} entries, {self.size.bytes:,} bytes)")
        if self.switch:
            words.append(f"switch from {self.previous or 'nothing'}")
        if self.prune:
            words.append(f"prune {', '.join(self.prune)}")
        return "; ".join(words) or "nothing to do"


@dataclass(frozen=True, slots=True)
class ReleasePlan:
    """Bring every host to `release`. `missing` are hosts that could not be read; a quorum allows for them."""

    platform: str
    release: str
    content: str
    hosts: tuple[HostPlan, ...]
    quorum: int
    missing: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(self.hosts)

    def __str__(self) -> str:
        lines = [f"platform {self.platform}: release {self.release}", *(f"  {host}" for host in self.hosts)]
        return "\n".join([*lines, *(f"  {host}: cannot be read, left out" for host in self.missing)])

    def as_rows(self) -> list[dict[str, str]]:
        """Rows for a table artifact, one a host."""
        rows = [{"host": host.host, "release": self.release, "step": host.describe()} for host in self.hosts]
        return rows + [{"host": name, "release": "", "step": "cannot be read"} for name in self.missing]

    def for_host(self, name: str) -> HostPlan:
        """The part of one host; a host that the plan does not know has nothing to do."""
        return next((host for host in self.hosts if host.host == name), HostPlan(name))

    @property
    def staging_hosts(self) -> tuple[str, ...]:
        return tuple(host.host for host in self.hosts if host.stage)

    @property
    def switching_hosts(self) -> tuple[str, ...]:
        return tuple(host.host for host in self.hosts if host.switch)

    @property
    def pruning_hosts(self) -> tuple[str, ...]:
        return tuple(host.host for host in self.hosts if host.prune)

    def without_hosts(self, failed: Collection[str]) -> ReleasePlan:
        """The plan for the hosts that staged; raises PlanRefused when they are fewer than the quorum."""
        left = tuple(host for host in self.hosts if host.host not in failed)
        if len(left) < self.quorum:
            raise PlanRefused(
                f"{self.platform}: {len(left)} host(s) have {self.release} and {self.quorum} are needed "
                f"(failed: {', '.join(sorted(failed)) or 'none'})",
                "Nothing was switched. Repair the hosts, or ask for a smaller quorum, and run it again",
            )
        return replace(self, hosts=left, missing=(*self.missing, *sorted(failed)))
