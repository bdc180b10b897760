"""A server that does what it is told, in memory: what each step makes of the facts."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tasks.servers import managed
from tasks.servers.plan import ServerPlan
from tasks.servers.state import WEB_SERVICE, Account, PathState, ServerFacts, ServiceState
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

PHP = "8.2"


def apply_to(facts: ServerFacts, plan: ServerPlan) -> ServerFacts:
    for step in plan.steps:
        facts = _apply(facts, with_php(step, PHP))
    return facts


def _apply(facts: ServerFacts, step: Step) -> ServerFacts:  # noqa: C901, PLR0911, PLR0912 - a table
    match step:
        case RemovePolicy():
            return replace(facts, stray_policy=False)
        case InstallPackages(names):
            return _install(facts, names)
        case CreateAccount(name, uid, gid, home, shell, group):
            user = Account(name, uid, gid, home, shell, frozenset({name, group}))
            return replace(facts, user=user, group_gid=gid, uid_holder=name, gid_holder=name)
        case MakeDirectory(path, owner, group, mode):
            return _with_path(facts, path, PathState("directory", owner, group, mode))
        case AuthorizeKey(_, key):
            return replace(facts, keys=facts.keys | {key})
        case MakeFirstGeneration(config, name):
            return _with_path(facts, f"{config}/live", PathState("link", digest=f"generations/{name}"))
        case WriteFile(path, content, mode, guard):
            digest = hashlib.sha256(content.encode()).hexdigest()
            written = _with_path(facts, path, PathState("file", "root", "root", mode, digest))
            return written if guard in ("", "sudoers") else _with_service(written, guard, reload_pending=True)
        case EnableApache("mod", names):
            enabled = replace(facts, modules=facts.modules | set(names))
            return _with_service(enabled, "apache2", reload_pending=True)
        case EnableApache():
            linked = _with_path(facts, managed.APACHE_CONF_LINK, PathState("link"))
            return _with_service(linked, "apache2", reload_pending=True)
        case InsertInclude():
            return _with_service(replace(facts, include="present"), "nginx", reload_pending=True)
        case DisableDefaultSite(service, link):
            return _with_service(_with_path(facts, link, PathState()), service, reload_pending=True)
        case EnableService(service):
            return _with_service(facts, service, enabled=True)
        case RunService(service, socket):
            ran = _with_service(facts, service, running=True, reload_pending=False)
            return _with_path(ran, socket, PathState("other")) if socket else ran


def _install(facts: ServerFacts, names: tuple[str, ...]) -> ServerFacts:
    """Packages bring their default site along, and nothing of them is started."""
    installed = replace(facts, packages=facts.packages | set(names), php=PHP)
    for kind, package in WEB_SERVICE.items():
        if package in names:
            installed = _with_path(installed, managed.DEFAULT_SITE[kind], PathState("link"))
    return replace(installed, include="absent") if "nginx" in names else installed


def _with_path(facts: ServerFacts, path: str, state: PathState) -> ServerFacts:
    paths: Mapping[str, PathState] = {**facts.paths, path: state}
    return replace(facts, paths=paths)


def _with_service(facts: ServerFacts, name: str, **changes: Any) -> ServerFacts:
    state: ServiceState = replace(facts.service(name), **changes)
    return replace(facts, services={**facts.services, name: state})
