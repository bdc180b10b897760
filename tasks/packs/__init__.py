"""Packs: what their nodes mount, and slaves that follow what the master does."""

from __future__ import annotations

from tasks.fleet import Node, Share
from tasks.outcome import Outcome
from tasks.packs import apply, facts
from tasks.packs.facts import MemberFacts
from tasks.packs.plan import FollowPlan, plan_following, refuse_few, refuse_unmounted
from tasks.ssh import connect
from tasks.steps import fact_task, host_task

__all__ = [
    "FollowPlan",
    "MemberFacts",
    "follow",
    "forget",
    "look_at",
    "plan_following",
    "read_member",
    "refuse_few",
    "refuse_unmounted",
]


@fact_task("read mounts", run_name="read mounts of {node.name}")
def read_member(node: Node, share: Share, platform: str = "") -> MemberFacts:
    """What the node mounts, and what it sees of the platform through that."""
    return facts.read_member_facts(connect(node), share, platform)


@host_task("look at release", run_name="look at {release} on {node.name}")
def look_at(node: Node, platform: str, release: str) -> Outcome:
    """The slave sees the whole release through the share; nothing was switched yet."""
    return apply.look_at_release(connect(node), platform, release)


@host_task("follow", run_name="wait until {node.name} sees {release}")
def follow(node: Node, platform: str, release: str | None) -> Outcome:
    """The slave sees `release` as the current one, and its php-fpm was told."""
    return apply.follow_release(connect(node), platform, release)


@host_task("forget platform", run_name="forget {platform} on {node.name}")
def forget(node: Node, platform: str) -> Outcome:
    """The slave keeps no note about a platform that is gone."""
    return apply.forget_platform(connect(node), platform)
