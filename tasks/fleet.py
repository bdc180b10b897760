"""The fleet as the tasks see it: plain frozen values, resolved from blocks when a flow starts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal, Self

from pydantic import SecretStr

PLATFORM_USER = "aegir"
WEB_GROUP = "www-data"
HOME = "/var/aegir"
PLATFORMS = f"{HOME}/platforms"
SITES = f"{HOME}/sites"
CONFIG = f"{HOME}/config"
BACKUPS = f"{HOME}/backups"

ServerKind = Literal["apache", "nginx"]
MachineKind = Literal["apache", "nginx", "nfs"]
ShareMode = Literal["replica", "external"]


@dataclass(frozen=True, slots=True)
class FenceCommand:
    """How the controller puts a machine out of action from outside: switches it off, or cuts it off.

    `check` says whether it is: it exits with 0 and, where `off` is not empty, prints just that. Each may take
    `seconds`.
    """

    argv: tuple[str, ...]
    check: tuple[str, ...]
    off: str = ""
    seconds: int = 60


@dataclass(frozen=True, slots=True)
class Machine:
    """Anything that is reached over SSH.

    `host_keys` are pinned, each `<type> <base64>`; `user` is the login (the platform user, or the admin login
    while a server is being prepared). `fence` is how it is put out of action when it cannot be reached.
    `mount_address` is where an NFS server's clients mount from, if that is another address.
    """

    name: str
    address: str
    kind: MachineKind
    private_key: SecretStr
    host_keys: tuple[str, ...]
    port: int = 22
    user: str = PLATFORM_USER
    admin_user: str = "root"
    fence: FenceCommand | None = None
    mount_address: str = ""

    @property
    def login(self) -> str:
        return f"{self.user}@{self.address}:{self.port}"

    @property
    def endpoint(self) -> tuple[str, int]:
        """What tells two machines apart: where sshd listens. One machine may be registered in two roles."""
        return self.address, self.port

    @property
    def nfs_address(self) -> str:
        """Where its clients mount from."""
        return self.mount_address or self.address

    def as_admin(self) -> Self:
        """The same machine, reached with the login that may install packages."""
        return replace(self, user=self.admin_user)


@dataclass(frozen=True, slots=True)
class Node(Machine):
    """A web server; `http_port` is where it answers."""

    kind: ServerKind
    http_port: int = 80


@dataclass(frozen=True, slots=True)
class Database:
    """A MySQL or MariaDB server and the account Packmaster administers it with.

    `probe_user` is an account without any privilege, of which the server can be asked how it sees a node;
    without one, a refused login is. `readers` are its replicas, or the other nodes of its cluster: nothing
    is written to them, and all that was granted is looked for on them.
    """

    name: str
    host: str
    admin_user: str
    admin_password: SecretStr
    port: int = 3306
    probe_user: str = ""
    probe_password: SecretStr | None = None
    readers: tuple[Database, ...] = ()

    @property
    def endpoint(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Share:
    """What an NFS server exports for a pack: one directory for code and one for data.

    `address` is what clients mount from: the server's own, or in mode `external` one that moves by itself.
    `clients` are addresses and subnets, none of them everybody's; empty for exactly the machines of the pack.
    `disk` is the mount point that both directories lie on, or empty where they need none of their own.
    `failover_seconds` is how long a server that is highly available by other means may be silent, `partner`
    the other server of its cluster.
    `recovery_point_seconds` is how much of what was written a failover may lose without being asked, and
    `automatic_failover` whether one may happen without a person's approval.
    """

    name: str
    server: Machine
    address: str
    code_path: str
    data_path: str
    standby: Machine | None = None
    mode: ShareMode = "replica"
    clients: tuple[str, ...] = ()
    disk: str = ""
    partner: Machine | None = None
    code_options: str = ""
    data_options: str = ""
    failover_seconds: int = 120
    recovery_point_seconds: int = 300
    automatic_failover: bool = False

    def served_by(self, name: str) -> Share:
        """The same share with the server of that name as its server, and the other one as its standby."""
        if self.standby is None or self.standby.name != name:
            return self
        return replace(self, server=self.standby, standby=self.server, address=self.standby.nfs_address)


@dataclass(frozen=True, slots=True)
class Target:
    """What a platform is deployed to: a cluster, one web server, or a pack with its `master` and `share`.

    Configuration goes to all `nodes`; code and site data are written by `writers` alone, and `followers` see
    what these wrote, through the share.
    """

    name: str
    nodes: tuple[Node, ...]
    master: str = ""
    share: Share | None = None

    @property
    def node_names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.nodes)

    @property
    def writers(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if self.share is None or node.name == self.master)

    @property
    def followers(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if self.share is not None and node.name != self.master)

    @property
    def machines(self) -> tuple[Machine, ...]:
        """Every machine a run on the target may touch: its nodes, and the servers of its share."""
        share = self.share
        servers = () if share is None else (share.server, *([share.standby] if share.standby else []))
        return (*self.nodes, *servers)

    def only(self, names: Collection[str]) -> Target:
        """The same target with none but the named nodes; a pack without its master has no writers."""
        return replace(self, nodes=tuple(node for node in self.nodes if node.name in names))
