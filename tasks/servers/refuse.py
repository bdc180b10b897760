"""When a server must not be touched: what is there contradicts what is asked, and a person has to decide."""

from __future__ import annotations

from tasks.errors import PlanRefused
from tasks.fleet import HOME, PLATFORM_USER, WEB_GROUP
from tasks.servers.managed import DEFAULT_SITE, DIRECTORIES, LIVE, NGINX_CONF
from tasks.servers.nginx import INCLUDE
from tasks.servers.state import WEB_SERVICE, DesiredServer, ServerFacts

# Below are the ids that Debian gives to system accounts of packages (Debian Policy 9.2.2), above is `nobody`.
LOWEST_ID, HIGHEST_ID = 1000, 59999


def refuse_unsafe(desired: DesiredServer, facts: ServerFacts) -> None:
    """Return when the server can be prepared; else raise PlanRefused with the reason and what to do."""
    _refuse_system(facts)
    _refuse_ids(desired, facts)
    _refuse_listener(desired, facts)
    _refuse_paths(desired, facts)
    _refuse_configuration(desired, facts)


def _refuse_system(facts: ServerFacts) -> None:
    if "debian" not in facts.families:
        raise PlanRefused(
            f"{facts.host} runs {facts.system or 'an unknown system'}, which is not Debian nor made from it",
            "Packages, paths and services are Debian's: use a Debian or Ubuntu server",
        )
    if not facts.web_group:
        raise PlanRefused(
            f"{facts.host} has no group {WEB_GROUP}",
            "Debian's base-passwd makes it: run `dpkg-reconfigure base-passwd`",
        )


def _refuse_ids(desired: DesiredServer, facts: ServerFacts) -> None:
    for what, number in (("UID", desired.uid), ("GID", desired.gid)):
        if not LOWEST_ID <= number <= HIGHEST_ID:
            raise PlanRefused(
                f"the {what} {number} is outside {LOWEST_ID} to {HIGHEST_ID}",
                "Choose one that no package and no other account uses, the same on every server",
            )
    user = facts.user
    if user is not None and (user.uid, user.gid) != (desired.uid, desired.gid):
        raise PlanRefused(
            f"on {facts.host} the user {PLATFORM_USER} has UID {user.uid} and GID {user.gid}, "
            f"and {desired.uid} and {desired.gid} are asked for",
            "Ids have to be the same on all servers that share files. Prepare them all with these numbers, "
            "or change them here with usermod and groupmod, chown what the user owns, and run this again",
        )
    if user is not None and user.home != HOME:
        raise PlanRefused(
            f"on {facts.host} the home of {PLATFORM_USER} is {user.home} and not {HOME}",
            f"Move it with `usermod -d {HOME} -m {PLATFORM_USER}` while nothing of it runs, then try again",
        )
    if facts.group_gid not in (None, desired.gid):
        raise PlanRefused(
            f"on {facts.host} the group {PLATFORM_USER} has GID {facts.group_gid}, not {desired.gid}",
            "Remove the group if nothing uses it, or change its id with groupmod, then run this again",
        )
    for what, number, holder in (
        ("UID", desired.uid, facts.uid_holder),
        ("GID", desired.gid, facts.gid_holder),
    ):
        if holder not in (None, PLATFORM_USER):
            raise PlanRefused(
                f"on {facts.host} the {what} {number} belongs to {holder}",
                f"Give {holder} another one, or prepare every server with a {what} that is free on all",
            )


def _refuse_listener(desired: DesiredServer, facts: ServerFacts) -> None:
    others = sorted(facts.listeners - {WEB_SERVICE[desired.kind]})
    if others:
        raise PlanRefused(
            f"on {facts.host} port {desired.port} is taken by {', '.join(others)}, "
            f"and the inventory says {desired.kind}",
            "Correct the server's kind in the inventory, or stop and disable what listens there",
        )


def _refuse_paths(desired: DesiredServer, facts: ServerFacts) -> None:
    for wanted in DIRECTORIES:
        kind = facts.path(wanted.path).kind
        if kind not in ("absent", "directory"):
            raise PlanRefused(
                f"on {facts.host} {wanted.path} is a {kind} and not a directory",
                "A mount may be there, a link may not: put the directory itself in its place",
            )
    if facts.path(LIVE).kind not in ("absent", "link"):
        raise PlanRefused(
            f"on {facts.host} {LIVE} is not a symbolic link", "Look at what it holds, and move it away"
        )
    default = DEFAULT_SITE[desired.kind]
    if facts.path(default).kind not in ("absent", "link"):
        raise PlanRefused(
            f"on {facts.host} {default} is not the distribution's link",
            "Somebody's own site is in it: move it out of that directory, then run this again",
        )


def _refuse_configuration(desired: DesiredServer, facts: ServerFacts) -> None:
    for service, state in sorted(facts.services.items()):
        package = "php-fpm" if service.startswith("php") else service
        # A package that is only half installed has half a configuration; installing it is in the plan.
        if state.config_error and package in facts.packages:
            said = " ".join(state.config_error.split()).rstrip(".")
            raise PlanRefused(
                f"on {facts.host} the configuration of {service} is broken already: {said}",
                "Repair it (or move the file it names away), then run this again. Nothing was touched",
            )
    if desired.kind == "nginx" and facts.include == "no http block":
        raise PlanRefused(
            f"on {facts.host} {NGINX_CONF} has no http block of its own",
            f"Put `{INCLUDE}` into the http block wherever it is, with the block in {NGINX_CONF} itself",
        )
