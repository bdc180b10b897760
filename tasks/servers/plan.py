"""From a server as it is to one that is ready: desired x facts -> ServerPlan, or PlanRefused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from tasks.errors import PlanRefused
from tasks.fleet import CONFIG, HOME, PLATFORM_USER, WEB_GROUP
from tasks.servers import managed
from tasks.servers.nginx import INCLUDE
from tasks.servers.refuse import refuse_unsafe
from tasks.servers.state import PHP, PHP_SERVICE, PHP_SOCKET, WEB_SERVICE, DesiredServer, ServerFacts
from tasks.servers.steps import (
    AuthorizeKey,
    CreateAccount,
    DisableDefaultSite,
    EnableApache,
    EnableService,
    InsertInclude,
    InstallPackages,
    MakeDirectory,
    MakeFirstGeneration,
    RemovePolicy,
    RunService,
    Step,
    WriteFile,
    with_php,
)

SHELL = "/bin/bash"


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """What will be done on one server, in order. False when there is nothing to do."""

    host: str
    steps: tuple[Step, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __str__(self) -> str:
        if not self.steps:
            return f"{self.host}: is ready, nothing to do"
        return "\n".join([f"{self.host}:", *(f"  {_shown(step)}" for step in self.steps)])

    def as_rows(self) -> list[dict[str, str]]:
        """One row a step, for a table artifact."""
        rows = [
            {"host": self.host, "order": str(number), "step": _shown(step)}
            for number, step in enumerate(self.steps, 1)
        ]
        return rows or [{"host": self.host, "order": "", "step": "is ready, nothing to do"}]


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """The plans of several servers, and why some of them were refused: (host, reason)."""

    plans: tuple[ServerPlan, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return any(self.plans)

    def __str__(self) -> str:
        return "\n".join(
            [*(str(plan) for plan in self.plans), *(f"{h}: refused: {why}" for h, why in self.refused)]
        )

    def as_rows(self) -> list[dict[str, str]]:
        """Refusals first, then every step of every server."""
        rows = [{"host": host, "order": "", "step": f"refused: {why}"} for host, why in self.refused]
        return rows + [row for plan in self.plans for row in plan.as_rows()]


def plan_server(desired: DesiredServer, facts: ServerFacts) -> ServerPlan:
    """Return the steps that make this server ready; raise PlanRefused where they would hurt what is there."""
    refuse_unsafe(desired, facts)
    steps = (
        *_plan_packages(desired, facts),
        *_plan_account(desired, facts),
        *_plan_web(desired, facts),
    )
    steps = (*steps, *_plan_services(desired, facts, steps))
    if facts.php is not None:
        steps = tuple(with_php(step, facts.php) for step in steps)
    return ServerPlan(facts.host, steps)


def plan_fleet(servers: dict[str, tuple[DesiredServer, ServerFacts]]) -> FleetPlan:
    """Plan every server by itself: one that is refused does not keep the others from being prepared."""
    plans: list[ServerPlan] = []
    refused: list[tuple[str, str]] = []
    for host, (desired, facts) in servers.items():
        try:
            plans.append(plan_server(desired, facts))
        except PlanRefused as reason:
            refused.append((host, str(reason)))
    return FleetPlan(tuple(plans), tuple(refused))


def _plan_packages(desired: DesiredServer, facts: ServerFacts) -> Iterator[Step]:
    if facts.stray_policy:
        yield RemovePolicy()
    missing = tuple(name for name in managed.packages_for(desired.kind) if name not in facts.packages)
    if missing:
        yield InstallPackages(missing)


def _plan_account(desired: DesiredServer, facts: ServerFacts) -> Iterator[Step]:
    user = facts.user
    if user is None or user.shell != SHELL or WEB_GROUP not in user.groups:
        yield CreateAccount(PLATFORM_USER, desired.uid, desired.gid, HOME, SHELL, WEB_GROUP)
    for wanted in managed.DIRECTORIES:
        seen = facts.path(wanted.path)
        if (seen.kind, seen.owner, seen.group, seen.mode) != (
            "directory",
            wanted.owner,
            wanted.group,
            wanted.mode,
        ):
            yield MakeDirectory(wanted.path, wanted.owner, wanted.group, wanted.mode)
    if desired.public_key not in facts.keys:
        yield AuthorizeKey(PLATFORM_USER, desired.public_key, managed.AUTHORIZED_KEYS)
    if facts.path(managed.LIVE).kind != "link":
        yield MakeFirstGeneration(CONFIG, managed.FIRST_GENERATION, PLATFORM_USER)


def _plan_web(desired: DesiredServer, facts: ServerFacts) -> Iterator[Step]:
    for wanted in managed.managed_files(desired.kind):
        content = _with_version(wanted.content, facts)
        seen = facts.path(_with_version(wanted.path, facts))
        if (seen.kind, seen.owner, seen.group, seen.mode, seen.digest) != (
            "file",
            "root",
            "root",
            wanted.mode,
            hashlib.sha256(content.encode()).hexdigest(),
        ):
            yield WriteFile(wanted.path, content, wanted.mode, wanted.guard)
    link = managed.DEFAULT_SITE[desired.kind]
    if desired.kind == "apache":
        missing = tuple(name for name in managed.APACHE_MODULES if name not in facts.modules)
        if missing:
            yield EnableApache("mod", missing)
        if facts.path(managed.APACHE_CONF_LINK).kind != "link":
            yield EnableApache("conf", ("packmaster",))
    elif facts.include != "present":
        yield InsertInclude(managed.NGINX_CONF, INCLUDE)
    # A package that is about to be installed brings its default site along.
    if facts.path(link).kind == "link" or WEB_SERVICE[desired.kind] not in facts.packages:
        yield DisableDefaultSite(WEB_SERVICE[desired.kind], link)


def _plan_services(desired: DesiredServer, facts: ServerFacts, before: tuple[Step, ...]) -> Iterator[Step]:
    web = WEB_SERVICE[desired.kind]
    for service, socket in ((PHP_SERVICE, PHP_SOCKET), (web, "")):
        state = facts.service(_with_version(service, facts))
        if not state.enabled:
            yield EnableService(service)
        touched = any(
            service in (getattr(step, "guard", ""), getattr(step, "service", "")) for step in before
        )
        touched |= service == web and any(isinstance(step, EnableApache | InsertInclude) for step in before)
        listening = not socket or facts.path(socket).kind == "other"
        if not state.running or state.reload_pending or touched or not listening:
            yield RunService(service, socket)


def _with_version(text: str, facts: ServerFacts) -> str:
    return text if facts.php is None else text.replace(PHP, facts.php)


def _shown(step: Step) -> str:
    return str(step).replace(PHP, "<version>")
