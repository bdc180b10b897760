"""The fleet as the tasks see it: plain frozen values, resolved from blocks when a flow starts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pydantic import SecretStr

PLATFORM_USER = "aegir"
WEB_GROUP = "www-data"
HOME = "/var/aegir"
PLATFORMS = f"{HOME}/platforms"
SITES = f"{HOME}/sites"
CONFIG = f"{HOME}/config"
BACKUPS = f"{HOME}/backups"

ServerKind = Literal["apache", "nginx"]


@dataclass(frozen=True, slots=True)
class Node:
    """A web server as it is reached over SSH.

    `host_keys` are pinned, each `<type> <base64>`; `user` is the login (the platform user, or the admin login
    while a server is being prepared); `http_port` is where its web server answers.
    """

    name: str
    address: str
    kind: ServerKind
    private_key: SecretStr
    host_keys: tuple[str, ...]
    port: int = 22
    user: str = PLATFORM_USER
    admin_user: str = "root"
    http_port: int = 80

    @property
    def login(self) -> str:
        return f"{self.user}@{self.address}:{self.port}"

    def as_admin(self) -> Node:
        """The same node, reached with the login that may install packages."""
        return replace(self, user=self.admin_user)


@dataclass(frozen=True, slots=True)
class Database:
    """A MySQL or MariaDB server and the account Packmaster administers it with."""

    name: str
    host: str
    admin_user: str
    admin_password: SecretStr
    port: int = 3306

    @property
    def endpoint(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Target:
    """What a platform is deployed to: a cluster, or a single web server."""

    name: str
    nodes: tuple[Node, ...]

    @property
    def node_names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.nodes)
