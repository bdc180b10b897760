"""The machines: web and NFS servers, reached over SSH, and database servers, which speak MySQL's protocol."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Self

from pydantic import Field, HttpUrl, SecretStr, field_validator, model_validator

from blocks.inventory_block import InventoryBlock, as_field_check
from blocks.ssh import SshCredentials
from tasks.fleet import Database, FenceCommand, Machine, Node
from tasks.names import unique_or_refuse


def check_replicas(names: list[str]) -> tuple[str, ...]:
    """Return the names of replicas; raises PlanRefused for a repeated one."""
    return unique_or_refuse(names, "replica")


class SshServer(InventoryBlock):
    """What every machine that is reached over SSH has; not a block type of its own."""

    address: str = Field(
        title="Address",
        description="IP address or host name at which the controller reaches it (SSH and HTTP checks).",
        min_length=1,
        max_length=253,
        pattern=r"^[A-Za-z0-9:][A-Za-z0-9.:-]*$",
    )
    credentials: SshCredentials = Field(description="The login to use.")
    host_keys: list[str] = Field(
        title="Host keys",
        description="Pinned SSH host keys, each 'type base64'; see `packmaster inventory scan-host-keys`.",
        min_length=1,
    )
    ssh_port: int = Field(default=22, title="SSH port", description="Where sshd listens.", ge=1, le=65535)


class WebServer(SshServer):
    """A machine that runs apache or nginx with php-fpm.

    Example:
        ```python
        from blocks import WebServer

        server = WebServer.load("BLOCK_NAME")
        node = server.node()
        ```
    """

    _block_type_name = "Web server"
    _block_type_slug = "packmaster-web-server"
    _description = "A machine that runs apache or nginx with php-fpm, reached over SSH."
    _logo_url = HttpUrl("https://cdn.simpleicons.org/apache")
    _documentation_url = HttpUrl("https://httpd.apache.org/docs/2.4/vhosts/")

    kind: Literal["apache", "nginx"] = Field(
        title="Web server", description="The web server software that it runs."
    )
    http_port: int = Field(
        default=80, title="HTTP port", description="Where its web server answers.", ge=1, le=65535
    )

    def node(self) -> Node:
        """The server as the tasks see it; raises PlanRefused when the block was never saved."""
        return Node(
            name=self.name,
            address=self.address,
            kind=self.kind,
            private_key=self.credentials.private_key,
            host_keys=tuple(self.host_keys),
            port=self.ssh_port,
            admin_user=self.credentials.admin_username,
            http_port=self.http_port,
        )


class NfsServer(SshServer):
    """A machine that exports shares over NFS. A web server that does it too is registered as both.

    Example:
        ```python
        from blocks import NfsServer

        machine = NfsServer.load("BLOCK_NAME").machine()
        ```
    """

    _block_type_name = "NFS server"
    _block_type_slug = "packmaster-nfs-server"
    _description = "A machine that exports the shares of packs, reached over SSH."
    _logo_url = HttpUrl("https://cdn.simpleicons.org/truenas")
    _documentation_url = HttpUrl("https://man7.org/linux/man-pages/man5/exports.5.html")

    mount_address: str = Field(
        default="",
        title="Mount address",
        description="The address that clients mount from, such as one in a storage network, which has "
        "to be among the clients of its shares then; empty for the address above.",
        pattern=r"^[A-Za-z0-9.:-]*$",
    )
    fence_command: list[str] = Field(
        default_factory=list,
        title="Fence command",
        description="Run on the controller to put the server out of action when it cannot be reached: an "
        "IPMI, hypervisor or cloud command, a word an entry. No shell reads it.",
    )
    fence_check: list[str] = Field(
        default_factory=list,
        title="Fence check",
        description="Says whether the server is out of action: it must exit with 0. Required with a fence "
        "command, whose own exit status proves nothing.",
    )
    fence_off: str = Field(
        default="",
        title="Fence check prints",
        description="What the check prints when the server is out of action, such as `off`; empty where its "
        "exit status says it.",
    )
    fence_seconds: int = Field(
        default=60,
        title="Fence seconds",
        description="How long the fence command, and then its check, may take.",
        ge=1,
        le=600,
    )

    @model_validator(mode="after")
    def _confirmed(self) -> Self:
        if bool(self.fence_command) != bool(self.fence_check):
            raise ValueError("a fence command needs a fence check, and a check a command")
        return self

    def machine(self) -> Machine:
        """The server as the tasks see it; raises PlanRefused when the block was never saved."""
        return Machine(
            name=self.name,
            address=self.address,
            kind="nfs",
            private_key=self.credentials.private_key,
            host_keys=tuple(self.host_keys),
            port=self.ssh_port,
            admin_user=self.credentials.admin_username,
            fence=self._fence(),
            mount_address=self.mount_address,
        )

    def _fence(self) -> FenceCommand | None:
        if not self.fence_command:
            return None
        argv, check = tuple(self.fence_command), tuple(self.fence_check)
        return FenceCommand(argv, check, self.fence_off, self.fence_seconds)


class DatabaseServer(InventoryBlock):
    """A MySQL or MariaDB server.

    Example:
        ```python
        from blocks import DatabaseServer

        database = DatabaseServer.load("BLOCK_NAME").database()
        ```
    """

    _block_type_name = "Database server"
    _block_type_slug = "packmaster-database-server"
    _description = "A MySQL or MariaDB server on which sites get their databases."
    _logo_url = HttpUrl("https://cdn.simpleicons.org/mariadb")
    _documentation_url = HttpUrl("https://mariadb.com/kb/en/account-management-sql-commands/")

    host: str = Field(
        title="Address",
        description="IP address or host name, the same for the controller and for the web servers.",
        min_length=1,
        max_length=253,
        pattern=r"^[A-Za-z0-9:][A-Za-z0-9.:-]*$",
    )
    port: int = Field(default=3306, title="Port", description="Where it listens.", ge=1, le=65535)
    admin_user: str = Field(
        title="Admin account",
        description="The account that may create databases and users and grant the sites' privileges.",
        min_length=1,
        max_length=80,
    )
    admin_password: SecretStr = Field(title="Admin password", description="The admin account's password.")
    probe_user: str = Field(
        default="",
        title="Probe account",
        description="An account without privileges, of which each web server asks under which address it is "
        "seen; empty to read that in a refusal.",
        max_length=32,
    )
    probe_password: SecretStr = Field(
        default=SecretStr(""), title="Probe password", description="The probe account's password."
    )
    replicas: list[str] = Field(
        default_factory=list,
        title="Replicas",
        description="Names of the database servers that follow it, or are in one Galera cluster with it.",
    )

    _unique = field_validator("replicas")(as_field_check(check_replicas))

    def database(self) -> Database:
        """The server as the tasks see it; raises PlanRefused for a replica that is not registered."""
        readers = [DatabaseServer.get(name, f"database server {self.name}") for name in self.replicas]
        return replace(self._alone(), readers=tuple(reader._alone() for reader in readers))

    @property
    def endpoint(self) -> str:
        """Where it is, whether its replicas are registered or not."""
        return self._alone().endpoint

    def _alone(self) -> Database:
        return Database(
            name=self.name,
            host=self.host,
            port=self.port,
            admin_user=self.admin_user,
            admin_password=self.admin_password,
            probe_user=self.probe_user,
            probe_password=self.probe_password,
        )
