"""The steps of a server plan: values that say what is to become true. `apply` knows how."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

from tasks.servers.state import PHP


@dataclass(frozen=True, slots=True)
class RemovePolicy:
    def __str__(self) -> str:
        return "remove the policy-rc.d that an interrupted installation left"


@dataclass(frozen=True, slots=True)
class InstallPackages:
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"install {' '.join(self.names)}"


@dataclass(frozen=True, slots=True)
class CreateAccount:
    """User and group exist with these ids and this shell, and the user is also in `member_of`."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str
    member_of: str

    def __str__(self) -> str:
        return (
            f"account {self.name} (uid {self.uid}, gid {self.gid}), home {self.home}, shell {self.shell}, "
            f"member of {self.member_of}"
        )


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    path: str
    owner: str
    group: str
    mode: int

    def __str__(self) -> str:
        return f"directory {self.path} {self.owner}:{self.group} {self.mode:04o}"


@dataclass(frozen=True, slots=True)
class AuthorizeKey:
    user: str
    key: str
    path: str

    def __str__(self) -> str:
        return f"let {self.user} log in with the registered key {self.key[:20]}...{self.key[-12:]}"


@dataclass(frozen=True, slots=True)
class MakeFirstGeneration:
    config: str
    name: str
    user: str

    def __str__(self) -> str:
        return f"a first configuration without sites, {self.config}/live"


@dataclass(frozen=True, slots=True)
class WriteFile:
    """A file of root's, accepted by `guard`: a service that tests its configuration, or `sudoers`."""

    path: str
    content: str
    mode: int
    guard: str = ""

    def __str__(self) -> str:
        tested = f", tested by {self.guard}" if self.guard else ""
        return f"file {self.path} {self.mode:04o}{tested}"


@dataclass(frozen=True, slots=True)
class EnableApache:
    """`what` is mod or conf."""

    what: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"apache: enable {'modules' if self.what == 'mod' else 'configuration'} {' '.join(self.names)}"


@dataclass(frozen=True, slots=True)
class InsertInclude:
    path: str
    line: str

    def __str__(self) -> str:
        return f"in the http block of {self.path}: {self.line}"


@dataclass(frozen=True, slots=True)
class DisableDefaultSite:
    service: str
    link: str

    def __str__(self) -> str:
        return f"{self.service}: remove the distribution's default site {self.link}"


@dataclass(frozen=True, slots=True)
class EnableService:
    service: str

    def __str__(self) -> str:
        return f"{self.service} starts at boot"


@dataclass(frozen=True, slots=True)
class RunService:
    """The service runs with the configuration on disk: it is started, or reloaded when it runs."""

    service: str
    socket: str = ""

    def __str__(self) -> str:
        return f"{self.service} runs with this configuration"


Step: TypeAlias = (
    RemovePolicy
    | InstallPackages
    | CreateAccount
    | MakeDirectory
    | AuthorizeKey
    | MakeFirstGeneration
    | WriteFile
    | EnableApache
    | InsertInclude
    | DisableDefaultSite
    | EnableService
    | RunService
)


def with_php(step: Step, version: str) -> Step:
    """The same step with the PHP version filled in."""
    known: dict[str, Any] = {
        item.name: value.replace(PHP, version)
        for item in fields(step)
        if isinstance(value := getattr(step, item.name), str) and PHP in value
    }
    return replace(step, **known) if known else step


def needs_php(step: Step) -> bool:
    """Whether the PHP version has to be known before the step can be applied."""
    return with_php(step, "") != step
