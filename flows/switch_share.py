"""switch-share: a share moves to its standby while both servers are well, and nothing is lost.

Trigger: by hand, before the server is maintained; to go back to it after a failover, when rejoin-standby has
    made it the standby.
Effect: the standby gets a copy while everybody works. Then the pause begins: php-fpm is stopped on all nodes
    (requests that are being answered may finish), and each unmounts the share; the server ends its exports;
    the standby gets what was written since, and is compared with the server. It serves under the next epoch,
    all nodes mount from it, and the pause ends: how long it was is in the outcome, in the table
    `timeline-<share>` and in the event `packmaster.share.moved`. The old server is the standby from then on.
Rollback: by itself, when something fails before the new server was told that it serves: the old one goes on.
    When something fails after that, failover-share finishes it. Afterwards run this again, which moves the
    share back.
Safe to re-run? A run that was killed is finished: by this flow before the new server serves, by
    failover-share after that, which the refusal says.
3 a.m.: it is refused unless both servers and all nodes are well; for anything else there is failover-share.
    `held by` names who kept a node from unmounting for five seconds: end that first. Nothing is forced, and
    no server is switched off.
"""

from __future__ import annotations

import time

from prefect.client.schemas.objects import State

from blocks import Share
from flows.enlist import enlist
from flows.ledger import write_ledger
from flows.locks import hold
from flows.operation import operation
from flows.publish import conclude, publish_plan
from flows.standby import copy_share
from flows.takeover import look_around, move, pack_of, promote, register
from flows.timeline import Timeline
from flows.watch import Circle, find_circle
from tasks.errors import HostsFailed
from tasks.failover import (
    Ledger,
    Situation,
    SwitchPlan,
    detach_node,
    export_all,
    plan_switch,
    start_server,
)
from tasks.fencing import Record, Role, open_disk, retire_server, set_record, withdraw_claim
from tasks.outcome import Outcome, Outcomes
from tasks.replication import list_unlike
from tasks.steps import join, join_outcomes


@operation("switch-share", runbook=__doc__, run_name="switch {share.name}")
def switch_share(share: Share, dry_run: bool = False) -> State[Outcomes]:
    """Move a share to its standby without losing anything.

    Args:
        share: The share to move.
        dry_run: Only show what would be done.
    """
    about = f"switch {share.name}"
    with hold(find_circle(share).target):
        share = Share.get(share.name, "switch-share")
        seen = look_around(share)
        plan = plan_switch(seen)
        publish_plan(about, plan)
        outcomes = Outcomes() if dry_run else carry_out(share, seen, plan)
    return conclude(about, outcomes)


def carry_out(share: Share, seen: Situation, plan: SwitchPlan) -> Outcomes:
    """The share is served by `plan.new`; or, when that fails before it could be, by `plan.old` as before."""
    line, circle, served = Timeline(share.name), find_circle(share), seen.share
    old, new = circle.share.server, seen.servers[1]
    outcomes = Outcomes()
    if not plan.resumed:
        outcomes += copy_share(served, old, new)
        outcomes += join_outcomes([start_server.submit(new)]) if not outcomes.failed else ()
        outcomes.raise_if_failed()
    line.mark(f"{new.name} has a copy; the pause begins")
    paused = time.monotonic()
    outcomes += quiesce(circle, seen)
    if outcomes.failed:
        raise HostsFailed(outcomes + go_back(share, circle, seen))
    line.mark(f"nobody writes, {new.name} has it all")
    moving = Ledger(plan.epoch, plan.new, moving=True)
    outcomes += exchange(share, circle, seen, plan, moving)
    outcomes.raise_if_failed()
    register(share, plan.takeover, moving)
    outcomes += move(Share.get(share.name, "switch-share"), plan.nodes, line=line)
    pause = time.monotonic() - paused
    line.mark(f"the pause was {pause:.1f} s")
    line.publish("Nothing was lost.")
    outcomes += [Outcome(new.name, "switch", True, f"serves; writers were paused for {pause:.1f} s")]
    return outcomes + make_standby(Share.get(share.name, "switch-share"))


def exchange(share: Share, circle: Circle, seen: Situation, plan: SwitchPlan, moving: Ledger) -> Outcomes:
    """`plan.new` serves under the plan's epoch. Where it fails before it could be used, the old one serves as
    before, and the outcomes have a failed one all the same.
    """
    old, new = circle.share.server, seen.servers[1]
    write_ledger(share.name, seen.ledger, moving)
    claim = Record(plan.epoch, Role.TAKING_OVER, old.address)
    outcomes = join_outcomes([set_record.submit(new, seen.share, claim)])
    promoted = promote(share, plan.takeover) if not outcomes.failed else Outcomes()
    outcomes += promoted
    if not outcomes.failed:
        return outcomes
    # Once it was told that it serves, it may be used, whatever was heard of it.
    used = any(one.step == "record" for one in promoted)
    outcomes += join_outcomes([withdraw_claim.submit(new, seen.share, plan.epoch)]) if not used else ()
    if used or any(one.step == "withdraw" for one in outcomes.failed):
        error = "nobody serves the share until failover-share has been run, which finishes this"
        return outcomes + Outcomes((Outcome(new.name, "switch", error=error),))
    write_ledger(share.name, moving, seen.ledger)
    return outcomes + go_back(share, circle, seen)


def quiesce(circle: Circle, seen: Situation) -> Outcomes:
    """Nobody writes to the share any more, and its standby has all of it: up to the first that fails."""
    old, new, served = circle.share.server, seen.servers[1], seen.share
    outcomes = join_outcomes(
        [detach_node.submit(circle.nodes[member.name], member.mounts) for member in circle.watched.members]
    )
    if not outcomes.failed:
        outcomes += join_outcomes([retire_server.submit(old, served)])
    if not outcomes.failed:
        # What is written there from now on is the copy's token only.
        outcomes += join_outcomes([open_disk.submit(old, served)])
    if not outcomes.failed:
        outcomes += copy_share(served, old, new, purpose="switch")
    return outcomes if outcomes.failed else outcomes + compare(circle, seen)


def compare(circle: Circle, seen: Situation) -> Outcomes:
    """One Outcome: the standby differs from the server in nothing."""
    old, new = circle.share.server, seen.servers[1]
    (found,) = join([list_unlike.submit(new, old, seen.share)])
    if found.value is None:
        return Outcomes((found.as_outcome("compare"),))
    names = ", ".join(f"{one.tree}/{one.name}" for one in found.value[:5])
    error = f"{len(found.value)} files differ from {old.name}: {names}" if found.value else None
    return Outcomes((Outcome(new.name, "compare", detail=f"has what {old.name} has", error=error),))


def go_back(share: Share, circle: Circle, seen: Situation) -> Outcomes:
    """The old server serves as before, and the nodes mount from it: nothing was exported by another one."""
    old, new, served = circle.share.server, seen.servers[1], seen.share
    outcomes = join_outcomes([open_disk.submit(old, served)])
    record = Record(seen.ledger.epoch, Role.PRIMARY, new.address)
    outcomes += join_outcomes([set_record.submit(old, served, record)])
    if not outcomes.failed:
        outcomes += join_outcomes([export_all.submit(old, served, pack_of(circle))])
    return outcomes if outcomes.failed else outcomes + move(share, tuple(circle.nodes))


def make_standby(share: Share) -> Outcomes:
    """The server that served until now has a copy under the new epoch, and may take over."""
    served = share.resolve()
    if served.standby is None:
        return Outcomes()
    outcomes = copy_share(served, served.server, served.standby, purpose="rejoin")
    return outcomes if outcomes.failed else outcomes + enlist(served, synced=True)
