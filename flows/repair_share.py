"""repair-share: mount anew what is stale, away or from the wrong server, one node after the other.

Trigger: by hand, or by an automation on `packmaster.share.unhealthy`, when check-share shows STALE,
    NOT_MOUNTED or WRONG_SERVER, or HUNG on a node although its server is well.
Effect: the share is looked at anew, three times where something is wrong. Then, one node at a time: what is
    wanted is mounted out of sight, and where that fails the node is left as it is; php-fpm is stopped
    (requests that are being answered may finish), the mounts concerned are taken away and made again, what is
    mounted is confirmed by address and by a bounded round trip, php-fpm is started, and the node's sites are
    asked for. A mount that is dead is taken away by force: one that is stale, or that hangs
    while its server and the server's disk are well, and have been for three minutes. One that hangs with its
    server is left, for what was written to it may not be on the disk yet. One that is alive and from the
    wrong server is never forced, for somebody may be writing to it: who uses it is named, and the node stays
    drained. Nodes whose mounts are OK are not touched. What mounting cannot mend is named, and fails the
    run. Of a share of mode external nothing is ever mounted anew: nodes on which it hangs for longer than
    its failover budget, as check-share saw, are drained, and start again by a run after it is back. After
    the first node that stays drained no other one is touched: those are named.
Rollback: none; a node goes back to work only when its mounts are right.
Safe to re-run? Yes, also after a kill: what was drained is noted on the node (/run/packmaster/drained), and
    is started as soon as its mounts are right.
3 a.m.: a node that stays drained answers 503, as its load balancer sees. The outcome says which process
    uses the mount: end it, and run this again. A share of mode external is moved by its own cluster: see to
    that.
"""

from __future__ import annotations

from datetime import UTC, datetime

from prefect.client.schemas.objects import State

from blocks import Share
from flows.check_share import read_history
from flows.locks import hold
from flows.operation import operation
from flows.publish import conclude, publish_plan
from flows.registry import list_sites
from flows.release import site_checks
from flows.watch import PATIENT_SECONDS, Circle, find_circle, look
from tasks.fleet import Node
from tasks.liveness import (
    NodeRepair,
    Remount,
    Watch,
    confirm_mounts,
    drain,
    flush_exports,
    mount_anew,
    plan_repair,
    resume,
    returned_lately,
    try_mounts,
)
from tasks.outcome import Outcome, Outcomes
from tasks.steps import join_outcomes
from tasks.web import SiteCheck, check_sites

# The steps after whose failure a node stays drained.
STOPPED = frozenset({"drain", "mount anew", "confirm mounts", "resume"})


@operation("repair-share", runbook=__doc__, run_name="repair {share.name}")
def repair_share(share: Share, dry_run: bool = False) -> State[Outcomes]:
    """Mount anew what is stale, away or from the wrong server; drain what waits for a cluster.

    Args:
        share: The share to repair.
        dry_run: Only show what would be done.
    """
    circle, about = find_circle(share), f"repair {share.name}"
    with hold(circle.target):
        before = read_history(share.name)
        # Since when something hangs tells whether its own cluster may still be at it.
        looked = look(circle, before if circle.watched.external else Watch(), PATIENT_SECONDS)
        returned = returned_lately(before, circle.watched, datetime.now(UTC))
        plan = plan_repair(circle.watched, looked.watch, looked.sample, returned=returned)
        publish_plan(about, plan)
        outcomes = Outcomes(tuple(found_well(circle, looked.watch, {repair.host for repair in plan.repairs})))
        if not dry_run:
            checks = find_checks(circle)
            if plan.needs_flush:
                outcomes += join_outcomes([flush_exports.submit(circle.share.server)])
            outcomes += repair_in_turn(circle, plan.repairs, checks)
            outcomes += Outcomes(
                tuple(
                    Outcome(machine, "repair", error=f"{mount} is {verdict}: {why}")
                    for machine, mount, verdict, why in plan.left
                )
            )
    return conclude(about, outcomes)


def repair_in_turn(
    circle: Circle, repairs: tuple[NodeRepair, ...], checks: tuple[SiteCheck, ...]
) -> Outcomes:
    """One node after the other, up to the first that stays drained: on the others it may go the same way."""
    outcomes = Outcomes()
    for place, repair in enumerate(repairs, 1):
        done = repair_node(circle, repair, checks)
        outcomes += done
        if not repair.drains and any(outcome.step in STOPPED for outcome in done.failed):
            why = f"not tried, for {repair.host} stays drained: see to that, then run this again"
            return outcomes + [Outcome(rest.host, "repair", error=why) for rest in repairs[place:]]
    return outcomes


def repair_node(circle: Circle, repair: NodeRepair, checks: tuple[SiteCheck, ...]) -> Outcomes:
    """One node is drained, mounted anew, confirmed, and back at work; it stays drained where that fails.

    It is left as it is where what is wanted cannot be mounted.
    """
    node = circle.nodes[repair.host]
    member = next(member for member in circle.watched.members if member.name == node.name)
    stops = repair.drains or bool(repair.remounts)
    outcomes = join_outcomes([try_mounts.submit(node, repair.remounts)]) if repair.remounts else Outcomes()
    if outcomes.failed:
        return outcomes
    outcomes += join_outcomes([drain.submit(node)]) if stops else Outcomes()
    outcomes += mount_in_turn(node, repair.remounts) if not outcomes.failed else Outcomes()
    if outcomes.failed or repair.drains:
        return outcomes
    outcomes += join_outcomes([confirm_mounts.submit(node, circle.watched, member)])
    if not outcomes.failed:
        outcomes += join_outcomes([resume.submit(node)])
    if not outcomes.failed and checks:
        outcomes += join_outcomes([check_sites.submit(node, checks)])
    return outcomes


def mount_in_turn(node: Node, remounts: tuple[Remount, ...]) -> Outcomes:
    """Every mount is made anew, also when another one of the node could not be."""
    outcomes = Outcomes()
    for wanted in remounts:
        outcomes += join_outcomes([mount_anew.submit(node, wanted)])
    return outcomes


def find_checks(circle: Circle) -> tuple[SiteCheck, ...]:
    """What the sites of the packs that use the share have to answer."""
    packs = set(circle.packs)
    return site_checks([site for site in list_sites() if site.platform.target.name in packs])


def found_well(circle: Circle, watch: Watch, repaired: set[str]) -> list[Outcome]:
    """An unchanged Outcome for each node on which all is well."""
    return [
        Outcome(member.name, "look at mounts", detail="all its mounts are OK")
        for member in circle.watched.members
        if member.name not in repaired
        and all(watch.rows[member.name, mount.point].verdict.healthy for mount in member.mounts)
    ]
