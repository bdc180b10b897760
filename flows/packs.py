"""Packs in the flows: looked at before anything is done, and slaves that follow their master's switch.

A cluster or a single web server has no followers, so that all of this does nothing there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from prefect import unmapped

from flows.gather import gather
from flows.publish import explaining
from tasks.fleet import Target
from tasks.outcome import Outcomes
from tasks.packs import (
    MemberFacts,
    follow,
    look_at,
    plan_following,
    read_member,
    refuse_few,
    refuse_unmounted,
)
from tasks.packs.plan import FollowPlan
from tasks.steps import join_outcomes


@dataclass(frozen=True, slots=True)
class Standing:
    """A target as it can be worked on: `fleet` has the nodes that answer, `unread` why others do not.

    `followers` are what the slaves of a pack see of the platform.
    """

    fleet: Target
    followers: Mapping[str, MemberFacts] = field(default_factory=dict)
    unread: Outcomes = field(default_factory=Outcomes)

    def following(self, platform: str, release: str, *, switching: bool) -> FollowPlan:
        """Which slaves have to follow; see plan_following."""
        return plan_following(platform, release, self.followers, switching=switching)


def look_at_pack(fleet: Target, about: str, platform: str = "", quorum: int | None = 1) -> Standing:
    """Find out which nodes of a pack answer, and that what they mount is the share.

    Raises PlanRefused for a node with a wrong mount, for a master that does not answer, and below `quorum`
    nodes (None: all). Any other target stands as it is: nothing is asked of it here.
    """
    if fleet.share is None:
        return Standing(fleet)
    facts = gather("read mounts", read_member.map(fleet.nodes, unmapped(fleet.share), unmapped(platform)))
    with explaining(about, facts.unread):
        refuse_unmounted(fleet, facts.seen)
        refuse_few(fleet, facts.missing, quorum)
    alive = fleet.only(facts.seen)
    followers = {node.name: facts.seen[node.name] for node in alive.followers}
    return Standing(alive, followers, facts.unread)


def look_through_share(plan: FollowPlan, fleet: Target) -> Outcomes:
    """Every slave that is going to follow sees the staged release whole, before anything is switched."""
    nodes = [node for node in fleet.followers if node.name in plan.hosts]
    return join_outcomes(look_at.map(nodes, unmapped(plan.platform), unmapped(plan.release)))


def follow_master(plan: FollowPlan, fleet: Target, release: str | None) -> Outcomes:
    """Every slave of the plan sees `release` as the current one, and its php-fpm was told."""
    nodes = [node for node in fleet.followers if node.name in plan.hosts]
    return join_outcomes(follow.map(nodes, unmapped(plan.platform), unmapped(release)))
