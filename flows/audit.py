"""Releases read whole, file by file, on servers of which a listing says too little."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from prefect import unmapped

from flows.controller import work_directory
from flows.gather import Facts, gather
from flows.repair import INTACT
from tasks.code import Manifest, audit_release, read_code
from tasks.code.build import load_manifest, save_manifest
from tasks.code.facts import Release
from tasks.fleet import Target
from tasks.membership import read_release_manifest
from tasks.outcome import Outcome, Outcomes

STEP = "audit"
NO_RELEASE = "not audited: it has no release that was verified"
NO_MANIFEST = "not audited: no manifest of its release can be read, here or on a server"
OWN_MANIFEST = (
    "not audited but by the manifest that it has itself: this worker had none, and no other server has"
)


@dataclass(frozen=True, slots=True)
class Audit:
    """What differs on each host that was read, or nothing; `doubts` says of whom less is known, and why."""

    differences: Mapping[str, str] = field(default_factory=dict)
    doubts: Outcomes = field(default_factory=Outcomes)
    unread: Outcomes = field(default_factory=Outcomes)

    @property
    def different(self) -> Outcomes:
        """The hosts on which a file is not as it was deployed, as failed Outcomes."""
        return Outcomes(
            tuple(Outcome(host, STEP, error=text) for host, text in self.differences.items() if text)
        )


def find_reachable(fleet: Target, outcomes: Outcomes) -> Target:
    """The fleet without the servers that could not be read."""
    unread = {outcome.host for outcome in outcomes if not outcome.ok and outcome.step != INTACT}
    return fleet.only(set(fleet.node_names) - unread)


def find_intact(outcomes: Outcomes) -> frozenset[str]:
    """The hosts whose release is as it was deployed: where others differ, all get a new one of the same."""
    return frozenset(outcome.host for outcome in outcomes if outcome.ok and outcome.step == INTACT)


def read_every_file(platform: str, fleet: Target, names: Collection[str]) -> Audit:
    """What differs in the current release of the named hosts of `fleet`, every file of it read there.

    The manifest is this worker's own, or one that another server has of the same release; where there is
    neither, the host's own, which whoever changed the files could have changed with them.
    """
    nodes = [node for node in fleet.writers if node.name in names]
    if not nodes:
        return Audit()
    facts = gather("read releases", read_code.map(fleet.writers, unmapped(platform), unmapped("none")))
    current = {host: release for host, seen in facts.seen.items() if (release := seen.current_release)}
    wanted = {current[node.name].content for node in nodes if node.name in current}
    known = {content: load_manifest(work_directory(), content) for content in wanted}
    kept = {content: manifest for content, manifest in known.items() if manifest is not None}
    fetched, lost = fetch_manifests(platform, fleet, current, wanted - set(kept))
    manifests, doubts, asked = kept | fetched, [], []
    for node in nodes:
        release = current.get(node.name)
        if release is None or release.content not in manifests:
            if node.name in facts.seen:
                doubts.append(Outcome(node.name, STEP, detail=NO_MANIFEST if release else NO_RELEASE))
            continue
        if release.content not in kept and len(find_holders(current, release.content)) == 1:
            doubts.append(Outcome(node.name, STEP, detail=OWN_MANIFEST))
        asked.append(audit_release.submit(node, platform, release.name, manifests[release.content]))
    audited = gather(STEP, asked)
    return Audit(audited.seen, Outcomes(tuple(doubts)), facts.unread + lost + audited.unread)


def find_holders(current: Mapping[str, Release], content: str) -> list[str]:
    """The hosts that run a release of that content, by what they say."""
    return [host for host, release in current.items() if release.content == content]


def fetch_manifests(
    platform: str, fleet: Target, current: Mapping[str, Release], contents: Collection[str]
) -> tuple[dict[str, Manifest], Outcomes]:
    """Manifests that this worker has not, by content, from servers that have them; kept for the next time."""
    found: dict[str, Manifest] = {}
    lost = Outcomes()
    for node in fleet.writers:
        release = current.get(node.name)
        if release is None or release.content not in contents or release.content in found:
            continue
        read: Facts[Manifest] = gather(
            "read manifest", [read_release_manifest.submit(node, platform, release.name)]
        )
        lost += read.unread
        for manifest in read.seen.values():
            if manifest.digest == release.content:
                save_manifest(work_directory(), manifest)
                found[release.content] = manifest
    return found, lost
