"""A release put right where it was changed or lost: every server has again what most of them were given.

It comes from a server that has it unchanged, whatever has become of the source since, as after a rollback.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from prefect import unmapped

from blocks import Platform
from flows.controller import work_directory
from flows.deployment import Deployment, look_closer, plan_built, plan_deployment, start_building
from flows.gather import Facts, gather
from flows.packs import Standing
from flows.registry import list_sites_of
from tasks.code import Built, CodeFacts, read_code
from tasks.fleet import Node
from tasks.membership import copy_code, read_release_manifest
from tasks.outcome import Outcome, Outcomes

# The step that says of a host that its release is as it was deployed.
INTACT = "verify release"
SOURCE_MOVED = (
    "no server has the release as it was deployed, and the source is another by now. Run deploy-platform for "
    "what the source is, or rollback-platform for an older release; here is"
)
UNDECIDED = (
    "as many servers run one release as another. Run rollback-platform with the name of the one to keep, or "
    "deploy-platform for what the source is; here is"
)


def plan_repair(platform: Platform, standing: Standing) -> tuple[Deployment | None, Outcomes]:
    """Find out whether every server that answers has the same, unchanged release; else plan that it does.

    Returns None where there is nothing to repair, and the Outcomes of reading. The release to have is the one
    that most servers were given: one that was away during a deployment or a rollback follows the others.
    Where it cannot be known, or had, each server that needs it is a failed Outcome.
    """
    name = platform.name
    facts = gather("read releases", read_code.map(standing.fleet.writers, unmapped(name)))
    if not facts.seen:
        return None, facts.unread
    intact = find_unchanged(facts.seen)
    if len(intact) == len(facts.seen) and len(set(intact.values())) == 1:
        return None, facts.unread + tell_intact(facts.seen, list(intact))
    wanted = choose_content(facts.seen)
    if wanted is None:
        return None, facts.unread + tell_wrong(facts.seen, list(facts.seen), UNDECIDED)
    donors = [node for node in standing.fleet.writers if intact.get(node.name) == wanted]
    found = facts.unread + tell_intact(facts.seen, [node.name for node in donors])
    alive = replace(standing, fleet=standing.fleet.only(set(standing.fleet.node_names) - set(facts.missing)))
    built, lost = copy_intact(name, donors, facts.seen)
    if built is not None:
        # A release that is to become current again must not have been changed, either.
        closer = look_closer(Facts(facts.seen, Outcomes()), platform, built, alive, "all")
        return plan_built(closer, platform, built, alive, list_sites_of(name), None), found + lost
    building = start_building(platform, composer=True)
    deployment = plan_deployment(platform, alive, building, quorum=None)
    if wanted and deployment.plan.content != wanted:
        wrong = [host for host in facts.seen if intact.get(host) != wanted]
        return None, found + lost + tell_wrong(facts.seen, wrong, SOURCE_MOVED)
    return deployment, found + lost


def find_unchanged(facts: Mapping[str, CodeFacts]) -> dict[str, str]:
    """The content of the current release of each host on which nobody has changed it."""
    current = {host: seen.current_release for host, seen in facts.items()}
    return {host: release.content for host, release in current.items() if release and not release.drifted}


def choose_content(facts: Mapping[str, CodeFacts]) -> str | None:
    """What most hosts were given, changed since or not; empty where none has any, None when it is a tie."""
    current = [release.content for seen in facts.values() if (release := seen.current_release)]
    first, *others = Counter(current).most_common(2) or [("", 0)]
    return None if others and others[0][1] == first[1] else first[0]


def copy_intact(
    platform: str, donors: Sequence[Node], facts: Mapping[str, CodeFacts]
) -> tuple[Built | None, Outcomes]:
    """The release of the first donor that gives it, checked file by file; and Outcomes of those before it."""
    lost = Outcomes()
    for donor in donors:
        release = facts[donor.name].current or ""
        manifests = gather("read manifest", [read_release_manifest.submit(donor, platform, release)])
        lost += manifests.unread
        for manifest in manifests.seen.values():
            asked = [copy_code.submit(donor, platform, release, manifest, work_directory())]
            copies = gather("copy release", asked)
            lost += copies.unread
            if copies.seen:
                return copies.seen[donor.name], lost
    return None, lost


def tell_intact(facts: Mapping[str, CodeFacts], hosts: Sequence[str]) -> Outcomes:
    """An Outcome for each host that has the release as it was deployed."""
    return Outcomes(
        tuple(Outcome(host, INTACT, detail=f"{facts[host].current} is as it was deployed") for host in hosts)
    )


def tell_wrong(facts: Mapping[str, CodeFacts], hosts: Sequence[str], why: str) -> Outcomes:
    """A failed Outcome for each host whose release cannot be put right."""
    return Outcomes(
        tuple(Outcome(host, INTACT, error=f"{why} {facts[host].current or 'nothing'}") for host in hosts)
    )
