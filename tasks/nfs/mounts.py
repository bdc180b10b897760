"""What a node of a pack mounts, as it has to be and as the kernel says that it is. Pure values."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tasks.errors import PlanRefused
from tasks.fleet import PLATFORMS, SITES, Node, Target

MountKind = Literal["nfs", "bind"]

MARK = "x-packmaster"
MOUNT_SECONDS = 15
# Version 4.2 only: it needs one port, and neither rpcbind nor statd. A mount that fails must not try again by
# itself for two minutes (nfs(5), retry): at boot our own unit does, and a flow says that it failed.
_COMMON = ("vers=4.2", "noatime", "retry=0")
# In no other process's way while the machine boots, and not before there is a network.
_BOOT = ("_netdev", "nofail", f"x-systemd.mount-timeout={MOUNT_SECONDS}")
# Code that cannot be read in about 15 s is an error for a request (ETIMEDOUT); a write is never given up, for
# the program would not hear of it: soft mounts lose data without a word (nfs(5), soft).
_READ_ONLY = ("ro", "softerr", "timeo=50", "retrans=2")
_WRITABLE = ("rw", "hard")

# Options that decide what a share is, or when a machine mounts it: these are not the operator's to change.
_FIXED = frozenset(
    {
        *(
            "rw",
            "ro",
            "hard",
            "soft",
            "softerr",
            "vers",
            "nfsvers",
            "minorversion",
            "bg",
            "fg",
            "retry",
            "bind",
        ),
        *("_netdev", "nofail", "noauto", "auto", "user", "users", "owner", "remount", "addr", "clientaddr"),
    }
)
# Shown by the kernel as they were asked for. Sizes are what client and server agreed on, which may be less.
_SIZES = frozenset({"rsize", "wsize"})
_NFS = frozenset({"nfs", "nfs4"})


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount of a node as desired. `source` is `address:/path`, or a directory of its own (bind)."""

    share: str
    point: str
    source: str
    kind: MountKind
    options: tuple[str, ...]

    @property
    def writable(self) -> bool:
        return "ro" not in self.options

    @property
    def fstab_line(self) -> str:
        """The line of fstab(5), marked as ours, without its end."""
        fstype = "nfs" if self.kind == "nfs" else "none"
        return f"{self.source} {self.point} {fstype} {','.join(self.options)} 0 0"

    def __str__(self) -> str:
        return f"{self.point} from {self.source} ({','.join(self.options)})"


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of /proc/self/mountinfo. `options` are the mount's own, `super_options` the file system's."""

    point: str
    fstype: str
    source: str
    root: str
    device: str
    options: frozenset[str]
    super_options: frozenset[str]

    @property
    def is_nfs(self) -> bool:
        return self.fstype in _NFS


def desired_mounts(target: Target, node: Node) -> tuple[Mount, ...]:
    """What `node` mounts of the target's share: code, then data. Nothing for a target without one.

    The node that is itself the NFS server sees its own directories: a machine that mounts its own export can
    lock up when memory is short. Raises PlanRefused for extra options that would change what a share is.
    """
    share = target.share
    if share is None:
        return ()
    is_server = node.endpoint == share.server.endpoint and share.mode != "external"
    code = _WRITABLE if node.name == target.master else _READ_ONLY
    found = []
    for point, path, options, more in (
        (PLATFORMS, share.code_path, code, share.code_options),
        (SITES, share.data_path, _WRITABLE, share.data_options),
    ):
        extra = check_extra(share.name, more)
        if is_server:
            found.append(Mount(share.name, point, path, "bind", ("bind", "nofail", f"{MARK}={share.name}")))
            continue
        merged = merge_options((*options, *_COMMON), extra)
        found.append(
            Mount(
                share.name,
                point,
                f"{bracketed(share.address)}:{path}",
                "nfs",
                (*merged, *_BOOT, f"{MARK}={share.name}"),
            )
        )
    return tuple(found)


def check_extra(share: str, text: str) -> tuple[str, ...]:
    """A share's additional mount options; raises PlanRefused for one that is not the operator's to choose."""
    options = tuple(option for option in text.split(",") if option)
    for option in options:
        name = option.partition("=")[0]
        if name in _FIXED or name.startswith(("x-", "X-")):
            raise PlanRefused(
                f"the mount option {option} of share {share} is not one to choose: Packmaster decides what "
                "is written where, what may give up, and when it is mounted",
                "Take it out of the share's options",
            )
    return options


def merge_options(ours: Iterable[str], extra: Iterable[str]) -> tuple[str, ...]:
    """Both, each name once: of an option that is in both, the second is taken."""
    merged = {option.partition("=")[0]: option for option in (*ours, *extra)}
    return tuple(merged.values())


def bracketed(address: str) -> str:
    """An address as nfs(5) wants it before `:/path`."""
    return f"[{address}]" if ":" in address else address


def parse_mountinfo(text: str) -> tuple[MountEntry, ...]:
    """The lines of /proc/<pid>/mountinfo (proc(5)), in the order of mounting; others are passed over."""
    found = []
    for line in text.splitlines():
        left, separator, right = line.partition(" - ")
        fields, rest = left.split(" "), right.split(" ")
        if not separator or len(fields) < 6 or len(rest) < 3:
            continue
        found.append(
            MountEntry(
                point=unescape(fields[4]),
                fstype=rest[0],
                source=unescape(rest[1]),
                root=unescape(fields[3]),
                device=fields[2],
                options=frozenset(fields[5].split(",")),
                super_options=frozenset(rest[2].split(",")),
            )
        )
    return tuple(found)


def unescape(text: str) -> str:
    r"""Undo the octal escapes (`\040`) of the kernel's tables, fstab(5) and exports(5)."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def mount_at(mounts: Sequence[MountEntry], point: str) -> MountEntry | None:
    """What is seen at a mount point: the last that was mounted there."""
    return next((entry for entry in reversed(mounts) if entry.point == point), None)


def mount_below(mounts: Sequence[MountEntry], path: str) -> MountEntry | None:
    """The mount that a path lies on, when nothing hides it."""
    inside = [entry for entry in mounts if entry.point == "/" or f"{path}/".startswith(f"{entry.point}/")]
    longest = max((len(entry.point) for entry in inside), default=0)
    return next((entry for entry in reversed(inside) if len(entry.point) == longest), None)


def host_of(entry: MountEntry) -> str:
    """The address or name that an NFS mount was made from; empty for any other."""
    return entry.source.rpartition(":/")[0].strip("[]") if entry.is_nfs else ""


def differences(mount: Mount, mounts: Sequence[MountEntry]) -> tuple[str, ...]:
    """What the kernel's table says that is not as desired; empty when the mount is as it was asked for."""
    entry = mount_at(mounts, mount.point)
    if entry is None:
        return ("not mounted",)
    if mount.kind == "bind":
        return _bind_differences(mount, entry, mounts)
    if not entry.is_nfs:
        return (f"{entry.fstype} of {entry.source} is mounted there",)
    found = [] if entry.source == mount.source else [f"mounted from {entry.source}"]
    address = mount.source.rpartition(":/")[0].strip("[]")
    actual = {option.partition("=")[0]: option for option in entry.super_options}
    if _is_address(address) and actual.get("addr", "") != f"addr={address}":
        found.append(f"the kernel talks to {actual.get('addr', 'no address')}")
    return (*found, *_option_differences(mount, entry, actual))


def _option_differences(mount: Mount, entry: MountEntry, actual: dict[str, str]) -> list[str]:
    found = []
    for option in mount.options:
        name, _, value = option.partition("=")
        if name in {"ro", "rw", "noatime"}:
            as_asked = option in entry.options and (name != "rw" or "rw" in entry.super_options)
        elif name in {"hard", "softerr"}:
            as_asked = option in entry.super_options
        elif name in _SIZES and name in actual:
            as_asked = not value.isdigit() or int(actual[name].partition("=")[2]) <= int(value)
        else:
            # What is at its default the kernel does not show, so only what it shows can be compared.
            as_asked = name not in actual or not value or actual[name] == option
        if not as_asked:
            shown = actual.get(name) or ",".join(sorted(entry.options & {"ro", "rw"}))
            found.append(f"{option} was asked for, and it is {shown}")
    return found


def _bind_differences(mount: Mount, entry: MountEntry, mounts: Sequence[MountEntry]) -> tuple[str, ...]:
    disk = mount_below(mounts, mount.source)
    if disk is None:
        return (f"{mount.source} is on no file system",)
    below = mount.source if disk.point == "/" else mount.source.removeprefix(disk.point)
    wanted = f"{disk.root.rstrip('/')}{below}"
    if (entry.device, entry.root) != (disk.device, wanted):
        return (f"{entry.root} of {entry.source} is mounted there",)
    return () if "rw" in entry.options else ("it is read-only",)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
