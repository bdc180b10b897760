"""The steps of provisioning: values that say what is to become true. `apply` knows how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tasks.nfs.exports import Export
from tasks.nfs.ids import ChangeIds
from tasks.nfs.mounts import Mount
from tasks.servers.steps import CreateAccount, InstallPackages, MakeDirectory, RemovePolicy, WriteFile


@dataclass(frozen=True, slots=True)
class MakeExportDirectory:
    """A directory to export, on `disk` where one is named: never where that is not mounted."""

    path: str
    owner: str
    group: str
    mode: int
    disk: str = ""

    def __str__(self) -> str:
        where = f" on the disk {self.disk}" if self.disk else ""
        return f"directory {self.path} {self.owner}:{self.group} {self.mode:04o}{where}"


@dataclass(frozen=True, slots=True)
class RunNfsServer:
    def __str__(self) -> str:
        return "the NFS server runs, and starts at boot"


@dataclass(frozen=True, slots=True)
class EndDelegations:
    """The kernel delegates files and directories to no client, now and after a boot."""

    path: str
    content: str

    def __str__(self) -> str:
        return "the NFS server delegates no files to its clients"


@dataclass(frozen=True, slots=True)
class PutExport:
    """It is exported like this from now on; `PutExportsFile` does it for the next boot."""

    export: Export

    def __str__(self) -> str:
        return f"export {self.export}"


@dataclass(frozen=True, slots=True)
class TakeExportBack:
    path: str
    client: str

    def __str__(self) -> str:
        return f"export {self.path} to {self.client} no more"


@dataclass(frozen=True, slots=True)
class RemoveFile:
    path: str

    def __str__(self) -> str:
        return f"no file {self.path}"


@dataclass(frozen=True, slots=True)
class EnableUnit:
    """It starts at boot, with its file as it is then."""

    unit: str

    def __str__(self) -> str:
        return f"{self.unit} starts at boot"


@dataclass(frozen=True, slots=True)
class DisableUnit:
    unit: str

    def __str__(self) -> str:
        return f"{self.unit} starts no more"


@dataclass(frozen=True, slots=True)
class SealMountPoint:
    """Beneath the mount is an empty directory that only root could write to: nothing gets lost under it."""

    point: str

    def __str__(self) -> str:
        return f"{self.point}: empty beneath the mount, and nobody writes there while it is not mounted"


@dataclass(frozen=True, slots=True)
class OpenMountPoint:
    """The directory belongs to the platform user again, as on a server that mounts nothing."""

    point: str
    mode: int

    def __str__(self) -> str:
        return f"{self.point}: the platform user's own directory again"


@dataclass(frozen=True, slots=True)
class MountShare:
    mount: Mount

    def __str__(self) -> str:
        return f"mount {self.mount}"


@dataclass(frozen=True, slots=True)
class MountAnew:
    """Mounted as asked, in place of what is mounted now; php-fpm stops only where it holds that busy.

    All of them are unmounted before one is mounted: the client knows a server by its name for itself and
    not by its address, and talks to it where it did while it has one mount of it (RFC 8881, 2.10.5).
    """

    mounts: tuple[Mount, ...]
    reason: str

    def __str__(self) -> str:
        return f"mount anew {' and '.join(str(mount) for mount in self.mounts)}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Unmount:
    point: str

    def __str__(self) -> str:
        return f"unmount {self.point}"


@dataclass(frozen=True, slots=True)
class WriteFstab:
    """The table is `text`, provided that it still is the one with this SHA-256, which the plan was made
    of.
    """

    text: str
    before: str
    about: str

    def __str__(self) -> str:
        return f"/etc/fstab: {self.about}"


Step: TypeAlias = (
    ChangeIds
    | CreateAccount
    | DisableUnit
    | EnableUnit
    | EndDelegations
    | InstallPackages
    | MakeDirectory
    | MakeExportDirectory
    | MountAnew
    | MountShare
    | OpenMountPoint
    | PutExport
    | RemoveFile
    | RemovePolicy
    | RunNfsServer
    | SealMountPoint
    | TakeExportBack
    | Unmount
    | WriteFile
    | WriteFstab
)
