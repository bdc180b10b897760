"""What the nodes of a pack mount."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, HttpUrl, field_validator, model_validator

from blocks.inventory_block import InventoryBlock, as_field_check
from blocks.servers import NfsServer
from tasks import fleet
from tasks.errors import PlanRefused
from tasks.fleet import Machine
from tasks.names import check_slug
from tasks.nfs.clients import check_client

DIRECTORY = r"^(/[A-Za-z0-9][A-Za-z0-9._-]*)+$"
# What mount(8) and nfs(5) options look like: nothing that would end a field of fstab(5).
OPTIONS = r"^([a-z0-9_.-]+(=[A-Za-z0-9_.:/-]+)?(,[a-z0-9_.-]+(=[A-Za-z0-9_.:/-]+)?)*)?$"
EXPORTS = "/srv/packmaster"


def check_clients(clients: list[str]) -> None:
    """Raise PlanRefused for a client that is not an address or a sensible subnet."""
    for client in clients:
        check_client(client)


class Share(InventoryBlock):
    """An NFS export for code and one for data, and who may mount them.

    Example:
        ```python
        from blocks import Share

        share = Share.load("BLOCK_NAME").resolve()
        ```
    """

    _block_type_name = "Share"
    _block_type_slug = "packmaster-share"
    _description = "What an NFS server exports for a pack: its code and its sites' data."
    _logo_url = HttpUrl("https://cdn.simpleicons.org/files")
    _documentation_url = HttpUrl("https://man7.org/linux/man-pages/man5/nfs.5.html")

    server: NfsServer = Field(description="The NFS server that exports it.")
    standby: NfsServer | None = Field(
        default=None, description="Mode replica: the server that has a copy and can take over."
    )
    partner: NfsServer | None = Field(
        default=None,
        description="Mode external: the cluster's other server, where both can be reached over SSH. Then "
        "address, fsid, server scope, DRBD and Pacemaker are looked at on both.",
    )
    mode: Literal["replica", "external"] = Field(
        default="replica",
        title="Mode",
        description="replica: Packmaster copies to a standby. external: the share is highly available by "
        "other means (DRBD, a filer, a cloud service), and is only watched.",
    )
    address: str = Field(
        default="",
        title="Address",
        description="Mode external: the address that clients mount from, and that moves. Otherwise empty: "
        "clients mount from the server's mount address.",
        pattern=r"^[A-Za-z0-9.:-]*$",
    )
    code_path: str = Field(
        default="",
        title="Code directory",
        description=f"The directory on the server for platforms; empty for {EXPORTS}/<share>/platforms.",
        pattern=rf"^$|{DIRECTORY}",
    )
    data_path: str = Field(
        default="",
        title="Data directory",
        description=f"The directory on the server for the sites' data; empty for {EXPORTS}/<share>/sites.",
        pattern=rf"^$|{DIRECTORY}",
    )
    disk: str = Field(
        default="",
        title="Disk",
        description="The mount point on the server that both directories lie on: nothing is exported unless "
        "it is mounted. Empty where they lie on the server's own disk.",
        pattern=rf"^$|{DIRECTORY}",
    )
    clients: list[str] = Field(
        default_factory=list,
        title="Clients",
        description="Addresses and subnets that may mount it; empty for exactly the nodes of its packs.",
    )
    code_options: str = Field(
        default="",
        title="Code mount options",
        description="More NFS mount options for code, such as rsize=65536; they come after ours.",
        pattern=OPTIONS,
    )
    data_options: str = Field(
        default="",
        title="Data mount options",
        description="More NFS mount options for data; they come after ours.",
        pattern=OPTIONS,
    )
    failover_seconds: int = Field(
        default=120,
        title="Failover budget",
        description="Mode external: how many seconds a failover may take before its silence is an alarm.",
        ge=10,
        le=3600,
    )

    recovery_point_seconds: int = Field(
        default=300,
        title="Recovery point",
        description="Mode replica: how many seconds of what was written a failover may lose; one that could "
        "lose more is refused unless that is accepted explicitly.",
        ge=1,
        le=604800,
    )
    automatic_failover: bool = Field(
        default=False,
        title="Automatic failover",
        description="Mode replica: a failover happens without a person, as soon as check-share, the "
        "controller and a majority of clients agree that the server is gone, and it can be fenced.",
    )

    _sane_clients = field_validator("clients")(as_field_check(check_clients))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mode == "external" and self.standby is not None:
            raise ValueError("a share of mode external is moved by other means: it has no standby here")
        if self.mode == "replica" and self.partner is not None:
            raise ValueError("a partner is another server of a cluster, in mode external: this has a standby")
        if self.mode == "external" and not self.address:
            raise ValueError("a share of mode external needs the address that clients mount from")
        paths = [path for path in (self.code_path, self.data_path) if path]
        if len(paths) == 2 and is_inside(paths[0], paths[1]):
            raise ValueError("code and data directories must not lie inside each other: they are two exports")
        return self

    def resolve(self) -> fleet.Share:
        """The share as the tasks see it; raises PlanRefused when it contradicts itself."""
        name = check_slug(self.name, "share")
        server = self.server.machine()
        standby = self.standby.machine() if self.standby else None
        partner = self.partner.machine() if self.partner else None
        _refuse_own_standby(name, self.address, server, standby, partner)
        code = self.code_path or f"{EXPORTS}/{name}/platforms"
        data = self.data_path or f"{EXPORTS}/{name}/sites"
        for path in (code, data):
            if self.disk and not path.startswith(f"{self.disk}/"):
                raise PlanRefused(
                    f"share {name}: {path} is not on the disk {self.disk}",
                    f"Give directories below {self.disk}, or leave the disk empty",
                )
        if is_inside(code, data):
            raise PlanRefused(
                f"share {name}: {code} and {data} lie inside each other", "Give two directories"
            )
        return fleet.Share(
            name=name,
            server=server,
            address=self.address or server.nfs_address,
            code_path=code,
            data_path=data,
            standby=standby,
            partner=partner,
            mode=self.mode,
            clients=tuple(self.clients),
            disk=self.disk,
            code_options=self.code_options,
            data_options=self.data_options,
            failover_seconds=self.failover_seconds,
            recovery_point_seconds=self.recovery_point_seconds,
            automatic_failover=self.automatic_failover,
        )

    def exchange_servers(self) -> None:
        """Its standby is registered as its server, and the server as its standby; clients mount from that."""
        if self.standby is not None:
            self.server, self.standby = self.standby, self.server
            self.save(self.name, overwrite=True)


def is_inside(one: str, other: str) -> bool:
    """Say whether two directories are the same, or one is below the other."""
    return f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/")


def _refuse_own_standby(
    name: str, address: str, server: Machine, standby: Machine | None, partner: Machine | None
) -> None:
    if server.endpoint in {other.endpoint for other in (standby, partner) if other is not None}:
        raise PlanRefused(
            f"share {name}: {server.name} cannot be its own standby or partner",
            "Choose another NFS server",
        )
    if standby is not None and (address or standby.nfs_address == server.nfs_address):
        raise PlanRefused(
            f"share {name}: {address or server.nfs_address} cannot be what clients mount from, for "
            f"that changes when {standby.name} takes over",
            "Leave the share's address empty, and give each NFS server a mount address of its own",
        )
