"""Is a share provided as asked? Judged by planning again, from facts that were read anew. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tasks.fleet import HOME, PLATFORM_USER, PLATFORMS, SITES, Target
from tasks.nfs.exports import contradict
from tasks.nfs.ids import ChangeIds
from tasks.nfs.plan import MachinePlan, ProvisionPlan, exports_for
from tasks.nfs.state import MachineFacts
from tasks.outcome import Outcome, Outcomes
from tasks.servers.managed import DIRECTORIES
from tasks.servers.state import PathState, ServerFacts


def check_provided(target: Target, plan: ProvisionPlan, facts: Mapping[str, MachineFacts]) -> Outcomes:
    """One Outcome a machine: nothing is left to do there, and the kernel exports what its table says.

    `plan` was made of `facts`, which were read after everything was done.
    """
    left: dict[str, list[str]] = {host: [] for host in facts}
    for each in plan.phases:
        left[each.host] += [str(step) for step in each.steps]
    for host, why in plan.refused:
        left[host].append(why)
    share = target.share
    if share is not None and share.mode != "external":
        server = facts[share.server.name]
        left[server.host] += contradict(exports_for(target, facts), server.kernel)
    return Outcomes(tuple(_outcome(host, found) for host, found in left.items()))


def as_provided(facts: ServerFacts, changes: MachinePlan | None) -> ServerFacts:
    """A web server as it will be when its pack is provided: with its ids, and with what it mounts."""
    shared: dict[str, PathState] = {
        one.path: PathState("directory", one.owner, one.group, one.mode)
        for one in DIRECTORIES
        if one.path in (PLATFORMS, SITES)
    }
    provided = replace(facts, paths={**facts.paths, **shared})
    for step in changes.steps if changes else ():
        if isinstance(step, ChangeIds) and step.user == PLATFORM_USER and provided.user is not None:
            user = replace(provided.user, uid=step.uid, gid=step.gid)
            provided = replace(
                provided, user=user, group_gid=step.gid, uid_holder=step.user, gid_holder=step.user
            )
            home = provided.path(HOME)
            if home.owner != PLATFORM_USER:
                owned = PathState(home.kind, PLATFORM_USER, PLATFORM_USER, home.mode, home.digest)
                provided = replace(provided, paths={**provided.paths, HOME: owned})
    return provided


def _outcome(host: str, left: list[str]) -> Outcome:
    if left:
        return Outcome(host, "verify share", error=f"not as asked after all: {'; '.join(left)}")
    return Outcome(host, "verify share", detail="as asked")
