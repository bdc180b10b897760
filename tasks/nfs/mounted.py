"""What is mounted, as the kernel says (mountinfo, proc(5)), and how it differs from what was asked. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.nfs.mounts import Mount

# Shown by the kernel as they were asked for. Sizes are what client and server agreed on, which may be less.
_SIZES = frozenset({"rsize", "wsize"})
_NFS = frozenset({"nfs", "nfs4"})


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
    if is_reached_elsewhere(mount, entry):
        found.append(f"the kernel talks to {_shown_options(entry).get('addr', 'no address')}")
    return (*found, *_option_differences(mount, entry))


def is_reached_elsewhere(mount: Mount, entry: MountEntry) -> bool:
    """Say whether the kernel talks to another address than asked for, which the source need not show."""
    address = mount.source.rpartition(":/")[0].strip("[]")
    return _is_address(address) and _shown_options(entry).get("addr", "") != f"addr={address}"


def _shown_options(entry: MountEntry) -> dict[str, str]:
    return {option.partition("=")[0]: option for option in entry.super_options}


def _option_differences(mount: Mount, entry: MountEntry) -> list[str]:
    found, actual = [], _shown_options(entry)
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
