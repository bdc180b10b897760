"""What was seen on one machine of a pack: plain values, shared by facts and plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.nfs.exports import Export
from tasks.nfs.mounted import MountEntry
from tasks.servers.state import PathState

MOUNTS_UNIT = "packmaster-mounts.service"
MOUNTS_UNIT_FILE = f"/etc/systemd/system/{MOUNTS_UNIT}"
MOUNTS_SCRIPT = "/usr/local/sbin/packmaster-mounts"
NFS_UNIT = "nfs-server.service"
LEASES_FILE = "/etc/sysctl.d/60-packmaster-nfs.conf"
# What a bounded request to a mount's server gave, when it was no error.
OK, HUNG = "ok", "hung"


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numeric ids of a machine; None where the user or group does not exist.

    `user` and `group` are the platform user's; `web_user` and `web_group` are those that PHP runs as.
    """

    user: int | None = None
    user_gid: int | None = None
    group: int | None = None
    web_user: int | None = None
    web_group: int | None = None

    def __str__(self) -> str:
        ours, web = (self.user, self.group), (self.web_user, self.web_group)
        pairs = (f"{_shown(user)}:{_shown(group)}" for user, group in (ours, web))
        return f"aegir {next(pairs)}, www-data {next(pairs)}"


@dataclass(frozen=True, slots=True)
class Beneath:
    """The directory that a mount hides, or would hide: `entries` are up to four names of what is in it."""

    kind: str = "absent"
    owner: str = ""
    group: str = ""
    mode: int = 0
    entries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UnitState:
    """A unit of systemd; for the NFS server, `running` means that the kernel has threads for it."""

    enabled: bool = False
    running: bool = False


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What was seen on one machine.

    `holders` are the names that have an id: `uid 5000` -> `aegir`. `answers` says of each mount point with
    NFS on it what a bounded request to its server gave: `ok`, `hung`, or the error. `files` are the texts of
    exports files by path; `table` is what is exported, `kernel` what the kernel was asked for of it. With
    `leases` the kernel delegates files to NFS clients.
    """

    host: str
    system: str = ""
    families: frozenset[str] = frozenset()
    systemd: bool = False
    packages: frozenset[str] = frozenset()
    numbers: Numbers = field(default_factory=Numbers)
    holders: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[MountEntry, ...] = ()
    fstab: str = ""
    paths: Mapping[str, PathState] = field(default_factory=dict)
    beneath: Mapping[str, Beneath] = field(default_factory=dict)
    answers: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, UnitState] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    table: tuple[Export, ...] = ()
    kernel: tuple[Export, ...] = ()
    versions: frozenset[str] = frozenset()
    stray_policy: bool = False
    leases: bool = False

    def path(self, path: str) -> PathState:
        return self.paths.get(path, PathState())

    def unit(self, name: str) -> UnitState:
        return self.units.get(name, UnitState())


def _shown(number: int | None) -> str:
    return "-" if number is None else str(number)
