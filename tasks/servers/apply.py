"""One step of a server plan, done on the server: one effect, harmless to repeat."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tasks.errors import CommandFailed, PlanRefused
from tasks.fleet import Node
from tasks.outcome import Outcome
from tasks.servers.facts import run_as_root
from tasks.servers.nginx import insert_include
from tasks.servers.plan import ServerPlan
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
    needs_php,
    with_php,
)
from tasks.ssh import Ssh, connect

log = logging.getLogger(__name__)

STEP_SECONDS = 60.0
INSTALL_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class _Call:
    """One of the scripts, with its arguments and its standard input."""

    script: str
    args: tuple[str, ...] = ()
    stdin: bytes | None = None
    user: str = "root"
    timeout: float = STEP_SECONDS


def apply_plan(node: Node, plan: ServerPlan, report: Callable[[str], None] = log.info) -> Outcome:
    """Do the steps of `plan` in order, up to the first that fails, which leaves the node as it found it.

    `report` is called with a line after each step. Raises CommandFailed and Unreachable.
    """
    ssh = connect(node.as_admin())
    php: str | None = None
    for step in plan.steps:
        if needs_php(step):
            php = php or _read_php_version(ssh)
            step = with_php(step, php)  # noqa: PLW2901 - the same step, now fully known
        started = time.monotonic()
        apply_step(ssh, step)
        report(f"{node.name}: {step} ({time.monotonic() - started:.1f} s)")
    if plan:
        # A login from before the plan keeps the groups it had then (sshd sets them once a connection).
        connect(node).close()
    done = f"{len(plan.steps)} steps done" if plan else "was ready"
    return Outcome(node.name, "prepare server", changed=bool(plan), detail=done)


def apply_step(ssh: Ssh[Any], step: Step) -> None:
    """Make one step true. Safe to run again, also after the first attempt was killed."""
    call = _insert_include(ssh, step) if isinstance(step, InsertInclude) else _call_of(step)
    try:
        run_as_root(ssh, call.script, *call.args, timeout=call.timeout, stdin=call.stdin, user=call.user)
    except CommandFailed as failure:
        raise CommandFailed(failure.result, f"{step} failed") from failure


def _call_of(step: Step) -> _Call:  # noqa: C901, PLR0911 - a table, a line a kind of step
    match step:
        case RemovePolicy():
            return _Call("remove_policy")
        case InstallPackages(names):
            return _Call("install_packages", names, timeout=INSTALL_SECONDS)
        case CreateAccount(name, uid, gid, home, shell, group):
            return _Call("create_account", (name, str(uid), str(gid), home, shell, group))
        case MakeDirectory(path, owner, group, mode):
            return _Call("make_directory", (path, owner, group, f"{mode:04o}"))
        case AuthorizeKey(user, key, path):
            return _Call("authorize_key", (key, path), user=user)
        case MakeFirstGeneration(config, name, user):
            return _Call("first_generation", (config, name), user=user)
        case WriteFile(path, content, mode, guard):
            return _Call("write_file", (path, f"{mode:04o}", guard), content.encode())
        case EnableApache(what, names):
            return _Call("enable_apache", (what, *names))
        case DisableDefaultSite(service, link):
            return _Call("disable_default_site", (service, link))
        case EnableService(service):
            return _Call("enable_service", (service,))
        case RunService(service, socket):
            return _Call("run_service", (service, socket))
        case InsertInclude():
            raise AssertionError("needs what the file holds")


def _insert_include(ssh: Ssh[Any], step: InsertInclude) -> _Call:
    """The edit of nginx.conf as the writing of a file, which tests it and restores the old one."""
    text = run_as_root(ssh, "read_file", step.path, timeout=STEP_SECONDS)
    wanted = insert_include(text)
    if wanted is None:
        raise PlanRefused(
            f"on {ssh.node.name} {step.path} has no http block of its own",
            f"Put `{step.line}` into the http block, then run this again",
        )
    mode = "0644"
    return _Call("write_file", (step.path, mode, "nginx"), wanted.encode("utf-8", "surrogateescape"))


def _read_php_version(ssh: Ssh) -> str:
    version = run_as_root(ssh, "php_version", timeout=STEP_SECONDS).strip()
    if not version:
        raise PlanRefused(
            f"on {ssh.node.name} the package php-fpm does not say which PHP it stands for",
            "See `dpkg-query -W -f '${Depends}' php-fpm` there",
        )
    return version
