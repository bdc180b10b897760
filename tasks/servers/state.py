"""What a server is asked to be, and what it was seen to be: plain values, shared by facts and plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tasks.fleet import ServerKind

# Stands for the PHP version (such as 8.2) wherever it is not known before the packages are installed.
PHP = "@PHP@"
PHP_SERVICE = f"php{PHP}-fpm"
PHP_SOCKET = "/run/php/packmaster.sock"

WEB_SERVICE: dict[ServerKind, str] = {"apache": "apache2", "nginx": "nginx"}

PathKind = Literal["absent", "file", "directory", "link", "other"]
IncludeState = Literal["no file", "absent", "present", "no http block"]


@dataclass(frozen=True, slots=True)
class DesiredServer:
    """A node that is ready: which web server, which ids the platform user has, who may log in as it.

    `public_key` is `<type> <base64>`; `port` is where the web server answers.
    """

    kind: ServerKind
    public_key: str
    uid: int = 5000
    gid: int = 5000
    port: int = 80


@dataclass(frozen=True, slots=True)
class Account:
    """An entry of passwd, with the names of all groups it is a member of."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class PathState:
    """What is at a path. `owner` and `group` are names, or numbers that have none; `digest` is the SHA-256 of
    a file, or the target of a link.
    """

    kind: PathKind = "absent"
    owner: str = ""
    group: str = ""
    mode: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A service of the init system. `config_error` is what its configuration test says, "" when it passes.

    `reload_pending` is true when its configuration was changed and it was not told yet.
    """

    enabled: bool = False
    running: bool = False
    reload_pending: bool = False
    config_error: str = ""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What was seen on one server; `php` is None while php-fpm is not installed."""

    host: str
    system: str
    families: frozenset[str]
    packages: frozenset[str] = frozenset()
    php: str | None = None
    user: Account | None = None
    group_gid: int | None = None
    uid_holder: str | None = None
    gid_holder: str | None = None
    web_group: bool = True
    paths: Mapping[str, PathState] = field(default_factory=dict)
    modules: frozenset[str] = frozenset()
    include: IncludeState = "no file"
    services: Mapping[str, ServiceState] = field(default_factory=dict)
    listeners: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    stray_policy: bool = False

    def path(self, path: str) -> PathState:
        return self.paths.get(path, PathState())

    def service(self, name: str) -> ServiceState:
        return self.services.get(name, ServiceState())
