"""What a node of a pack mounts, as it has to be. Pure values."""

from __future__ import annotations

from collections.abc import Iterable
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
