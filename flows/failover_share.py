"""failover-share: the standby takes over from a share's server that is gone, and every node mounts from it.

Trigger: by hand, when check-share says that the server is HUNG and it does not come back; or by an automation
    with `automatic`, for a share whose policy allows it. For maintenance use switch-share, which loses
    nothing.
Effect: controller and nodes say, in several samples, whether the server is gone; the standby says how old
    its copy is. The plan shows what may be lost and what is going to be fenced, and waits for a person's
    approval (in the UI, or POST /flow_runs/<id>/resume). Afterwards all is read again. Then: the standby
    claims the next epoch; the server is fenced, over SSH or by its fence command, and that is confirmed by
    looking, else nothing is promoted; the standby exports the share, while every node is drained and lets go
    of the old one; the inventory is changed; each node mounts from the new server, is seen to, serves again,
    and its sites are asked. Nodes that cannot be moved stay drained, or as they are, and are named; one whose
    sites do not answer is named, and serves: it is other sites' node, too. Refused: a copy older than
    the recovery point (unless that loss is accepted), a standby that has none under this epoch, and, where
    nobody is asked, whatever is in doubt.
Rollback: switch-share back, when rejoin-standby has made the old server a standby again.
Safe to re-run? Yes: it goes on where the last run ended, and asks for no approval once the standby was
    promoted. On a share whose server answers it only moves nodes that were left behind; where a run was
    killed before it fenced the server, and that answers again, what was begun is withdrawn, and nothing is
    lost.
3 a.m.: `not seen to be out of action` means that two servers might write. Switch the old one off, and run
    this again with its name in fenced_by_hand. It asks the new one at its next boot, and exports nothing.
    Where the standby died for good before it served, run this with the standby's name in fenced_by_hand: the
    server, which was put out of action already, serves again, under a new epoch, and nothing is lost.
    Where the standby could not be promoted, the nodes are drained and have nothing mounted, and nobody is
    served: mend what is named, and run this again.
    Where a run was killed, and the server has booted since and waits (`nfsd must not start yet`), run this
    with `withdraw`: it goes on serving, and nothing is lost.
    A node that is named was not moved: bring it back, then run this again. What the old server had and the
    new one has not, rejoin-standby saves.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from pydantic import Field

from blocks import Share
from flows.approval import ask_approval
from flows.ledger import write_ledger
from flows.locks import hold
from flows.operation import operation
from flows.publish import conclude, publish_plan
from flows.takeover import detach, look_around, move, promote, register, settle
from flows.timeline import Timeline
from flows.watch import find_circle
from tasks.errors import HostsFailed
from tasks.failover import FailoverPlan, Ledger, Request, Situation, plan_failover, start_server
from tasks.fencing import Record, Role, fence_server, set_record, withdraw_claim
from tasks.fleet import Machine
from tasks.outcome import Outcome, Outcomes
from tasks.steps import join_outcomes

Seconds = Annotated[int, Field(ge=10, le=86400)]
# Between two looks at a copy it ages by this much more than by the time that a person thinks.
LOOKING_SECONDS = 60


@operation("failover-share", runbook=__doc__, run_name="fail over {share.name}")
def failover_share(
    share: Share,
    accept_loss_seconds: int | None = None,
    fenced_by_hand: str = "",
    although_it_answers: bool = False,
    automatic: bool = False,
    withdraw: bool = False,
    approval_seconds: Seconds = 1800,
    dry_run: bool = False,
) -> State[Outcomes]:
    """Let the standby take over from a share's server that is gone.

    Args:
        share: The share to move.
        accept_loss_seconds: Accept that what was written in so many seconds is lost, where the standby's
            copy is older than the share's recovery point.
        fenced_by_hand: The name of the old server, typed by somebody who has put it out of action.
        although_it_answers: Fail over although the server answers, for it is broken otherwise.
        automatic: Ask nobody. Only where the share's policy allows it, and all that it wants is so.
        withdraw: The server is back: give up a failover that an earlier run began and that fenced nobody.
        approval_seconds: How long approval is waited for.
        dry_run: Only show what would be done.
    """
    about, request = (
        f"failover {share.name}",
        Request(accept_loss_seconds, fenced_by_hand, although_it_answers, automatic, withdraw),
    )
    with hold(find_circle(share).target):
        # Another run may have changed it while this one waited.
        share = Share.get(share.name, "failover-share")
        line = Timeline(share.name)
        seen = look_around(share)
        plan = plan_failover(seen, request)
        line.mark(f"looked around: {seen.witnesses}")
        publish_plan(about, plan)
        outcomes = Outcomes()
        if plan and not dry_run:
            if needs_approval(seen, plan, request):
                seen, plan, request = approve(share, plan, request, approval_seconds)
                line.mark("decided")
            outcomes = carry_out(share, seen, plan, request, line)
        outcomes += [Outcome(plan.new, "serve", detail=f"epoch {plan.epoch}")] if not plan else []
    return conclude(about, outcomes)


def needs_approval(seen: Situation, plan: FailoverPlan, request: Request) -> bool:
    """A server that was promoted already has been approved of; what is left hurts nobody."""
    promoted = seen.promoted(plan.new, plan.epoch)
    return plan.takes_over and not promoted and not request.automatic


def approve(
    share: Share, plan: FailoverPlan, request: Request, seconds: int
) -> tuple[Situation, FailoverPlan, Request]:
    """A person said yes to `plan`. What they were shown, they accepted: a copy ages while they think."""
    asked = time.monotonic()
    answer = ask_approval(f"failover of share {share.name} to {plan.new}", str(plan), seconds)
    waited = time.monotonic() - asked
    accepted = max(request.accept_loss_seconds or 0, int((plan.loss or 0) + waited) + LOOKING_SECONDS)
    request = replace(
        request,
        accept_loss_seconds=accepted,
        fenced_by_hand=answer.fenced_by_hand or request.fenced_by_hand,
    )
    seen = look_around(share)
    again = plan_failover(seen, request)
    if (again.takes_over, again.new, again.epoch) != (plan.takes_over, plan.new, plan.epoch):
        get_run_logger().warning("since approval was asked for, this became the plan:\n%s", again)
    return seen, again, request


def carry_out(
    share: Share, seen: Situation, plan: FailoverPlan, request: Request, line: Timeline
) -> Outcomes:
    """What is planned is done, in an order in which it may end anywhere and be taken up again."""
    outcomes, detaching = Outcomes(), {}
    replaced = seen.share.served_by(plan.old).address
    moving = Ledger(plan.epoch, plan.new, moving=True)
    if plan.takes_over:
        write_ledger(share.name, seen.ledger, moving)
        # It was not promoted before its predecessor was seen to be out of action.
        if not seen.promoted(plan.new, plan.epoch):
            outcomes = claim_and_fence(seen, plan, request)
            if outcomes.failed:
                if not plan.returns:
                    give_up(share, seen, plan, moving)
                raise HostsFailed(outcomes)
            line.mark(f"{plan.old} fenced: {outcomes.items[-1].detail}")
        detaching = detach(share, plan, replaced)
        outcomes += promote(share, plan)
        if outcomes.failed:
            raise HostsFailed(outcomes + settle(detaching, "detach by force"))
        line.mark(f"{plan.new} promoted, epoch {plan.epoch}")
    if plan.withdraws:
        outcomes += withdraw_from(seen, plan.old, plan.epoch + 1)
        outcomes.raise_if_failed()
    register(share, plan, moving if plan.takes_over else seen.ledger)
    if plan.rewrites:
        outcomes += [Outcome(plan.new, "register", changed=True, detail=f"serves, epoch {plan.epoch}")]
    current = Share.get(share.name, "failover-share")
    moved = move(current, plan.nodes, replaced=replaced, after=detaching, line=line)
    line.publish(describe_loss(plan))
    return outcomes + moved


def describe_loss(plan: FailoverPlan) -> str:
    """What the time line says of it; a run that only finished another one has lost nothing more."""
    if plan.withdraws:
        return "Nothing was lost: what an earlier run began was withdrawn."
    if plan.loss is not None:
        return f"What was written in the last {plan.loss:.0f} s before may be lost."
    return "This run lost nothing; the one that began it says what may be lost."


def claim_and_fence(seen: Situation, plan: FailoverPlan, request: Request) -> Outcomes:
    """The standby says that it is about to take over, so that the old server, should it boot, waits for that;
    then the old one was seen to be out of action. The standby's nfsd starts meanwhile, and exports nothing.
    """
    machines: dict[str, Machine] = {server.name: server for server in seen.servers}
    old, new = machines[plan.old], machines[plan.new]
    outcomes, starting = Outcomes(), {}
    if plan.claims:
        claim = Record(plan.epoch, Role.TAKING_OVER, old.address)
        outcomes += join_outcomes([set_record.submit(new, seen.share, claim)])
        starting = {new.name: start_server.submit(new)}
    if not outcomes.failed:
        outcomes += join_outcomes([fence_server.submit(old, seen.share, request.fenced_by_hand)])
    # One that did not start is started again when it exports, or that says why it cannot be.
    settle(starting, "start NFS server")
    return outcomes


def give_up(share: Share, seen: Situation, plan: FailoverPlan, moving: Ledger) -> None:
    """The claim is withdrawn, for nothing was exported under it: the old server may go on, and boot."""
    if not withdraw_from(seen, plan.new, plan.epoch).failed:
        write_ledger(share.name, moving, Ledger(plan.epoch - 1, plan.old))


def withdraw_from(seen: Situation, name: str, epoch: int) -> Outcomes:
    """The server that claimed `epoch`, and exported nothing, is a standby again."""
    claimant = next(server for server in seen.servers if server.name == name)
    return join_outcomes([withdraw_claim.submit(claimant, seen.share, epoch)])
