"""What it takes that a node joins a cluster or pack, and that one leaves it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.errors import PlanRefused
from tasks.fleet import Target
from tasks.membership.facts import AccountIds


@dataclass(frozen=True, slots=True)
class Membership:
    """The steps, in order, by which `server` joins or leaves `target`; none where it is so already."""

    server: str
    target: str
    steps: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __str__(self) -> str:
        lines = [f"  {step}" for step in self.steps] or ["  nothing to do"]
        return "\n".join([f"{self.server} and {self.target}", *lines])

    def as_rows(self) -> list[dict[str, str]]:
        """Rows for a table artifact, one a step."""
        return [{"host": self.server, "step": step} for step in self.steps]


def plan_joining(
    fleet: Target, server: str, platforms: Mapping[str, tuple[str, ...]], *, ready: bool, listed: bool
) -> Membership:
    """Plan that `server`, one of `fleet`, serves `platforms` (their sites by name), and then is listed.

    Steps that are done already change nothing; a server that is `listed` and `ready` is converged.
    """
    steps = [] if ready else ["prepare it as a web server"]
    if fleet.share is not None:
        steps.append(f"export share {fleet.share.name} to it, and mount it")
    for platform, sites in sorted(platforms.items()):
        how = "see" if fleet.share is not None else "stage and switch"
        steps.append(f"{how} the current release of {platform}")
        if sites:
            steps.append(f"configure, grant and ask for {', '.join(sites)}")
    if not listed:
        steps.append(f"list it in {fleet.name}")
    return Membership(server, fleet.name, tuple(steps))


def plan_leaving(
    fleet: Target, server: str, sites: tuple[str, ...], *, listed: bool, elsewhere: tuple[str, ...]
) -> Membership:
    """Plan that nothing of `fleet` is left on `server`; `elsewhere` are other targets that it is in."""
    steps = [f"take it off the list of {fleet.name}"] if listed else []
    if sites:
        steps.append(f"remove the vhosts of {', '.join(sites)}")
        steps.append(f"take back its access to the databases of {', '.join(sites)}")
    if fleet.share is not None:
        steps.append(f"unmount share {fleet.share.name}, and export it to this server no more")
    if elsewhere:
        steps.append(f"leave our key there: it serves {', '.join(elsewhere)}, too")
    else:
        steps.append("remove our key from the platform user's")
    return Membership(server, fleet.name, tuple(steps))


def refuse_leaving(fleet: Target, server: str) -> None:
    """Raise PlanRefused for a pack's master, and for the last server or slave."""
    if server == fleet.master:
        raise PlanRefused(
            f"{server} is the master of pack {fleet.name}: it alone writes code and data",
            "Make another node the master first, in the pack's block",
        )
    staying = [node.name for node in fleet.nodes if node.name not in {server, fleet.master}]
    if not staying:
        what = "slave" if fleet.share is not None else "server"
        raise PlanRefused(
            f"{server} is the last {what} of {fleet.name}", "Add another one first, with add-node"
        )


def choose_ids(members: Mapping[str, AccountIds], server: str) -> AccountIds:
    """The ids that the platform user has on the first other member; PlanRefused where none answers.

    Whether they are the same on all of them matters to a pack alone, and is checked where it is provisioned.
    """
    others = [ids for name, ids in sorted(members.items()) if name != server]
    if not others:
        raise PlanRefused("no other member answers, and it is from them that a new one gets everything")
    return others[0]
