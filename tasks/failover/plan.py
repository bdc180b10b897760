"""Whether a share may move to its standby, and how: what was seen and asked -> FailoverPlan. Pure.

Never two writable servers: the standby is only promoted after the server was seen to be out of action, and a
server that comes back asks the standby before it exports (see tasks.fencing.gate). The standby claims the new
epoch first, so that from then on one that boots finds out.
"""

from __future__ import annotations

from dataclasses import replace

from tasks.errors import PlanRefused
from tasks.failover.failover_plan import FailoverPlan
from tasks.failover.readiness import refuse_unready
from tasks.failover.values import Ledger, Request, Situation
from tasks.failover.withdrawal import is_withdrawn, refuse_withdrawal
from tasks.fencing.record import Role
from tasks.fleet import Machine


def plan_failover(seen: Situation, request: Request) -> FailoverPlan:
    """Plan that the share is served by its standby, or that what an earlier run began is finished.

    Gives an empty plan for a share whose server answers. Raises PlanRefused with the reason and what to do
    next.
    """
    share, ledger = seen.share, seen.ledger
    if share.mode == "external" or share.standby is None:
        raise PlanRefused(
            f"share {share.name} has no standby that Packmaster could promote",
            "A share of mode external is moved by its own cluster; to one of mode replica add a standby",
        )
    if not ledger.epoch:
        raise PlanRefused(
            f"share {share.name} has no epoch yet: nothing would keep {share.server.name} from exporting "
            "when it boots",
            "Run provision-pack while both servers are up",
        )
    new = _find(seen, ledger.server)
    old = _other(seen, new)
    refuse_withdrawal(seen, request, old, new)
    if ledger.moving:
        if is_withdrawn(seen, request, old, new):
            claimed = seen.record(new.name).role is Role.TAKING_OVER
            note = f"an earlier run was killed before it {'fenced' if claimed else 'did'} anything"
            return replace(_plan_rest(seen, new, old, ledger.epoch - 1, note), withdraws=claimed)
        if request.fenced_by_hand == new.name and new.name not in seen.looks:
            # It died before it served: its predecessor has all that was written.
            return _plan_takeover(seen, request, new, old, ledger.epoch + 1)
        return _plan_takeover(seen, request, old, new, ledger.epoch)
    if not seen.down and not request.although_it_answers:
        return _plan_rest(seen, old, new, ledger.epoch)
    if share.server.name != ledger.server:
        raise PlanRefused(
            f"{ledger.server} serves share {share.name} (epoch {ledger.epoch}) and does not answer, and the "
            f"inventory says {share.server.name}",
            f"Make {ledger.server} the server and {share.server.name} the standby in the inventory, and see "
            "whether that one may take over",
        )
    return _plan_takeover(seen, request, share.server, share.standby, ledger.epoch + 1)


def _plan_rest(seen: Situation, old: Machine, new: Machine, epoch: int, note: str = "") -> FailoverPlan:
    """`new` serves under `epoch`: nodes that do not use it yet, and a ledger and inventory that say
    otherwise.
    """
    wrong = tuple(node for node in seen.nodes if node in seen.misplaced)
    state = "waits, and starts by itself" if seen.down else "answers"
    notes = [f"{new.name} {state}: {seen.witnesses}", *([note] if note else [])]
    notes += [f"{node}: {seen.misplaced[node]}" for node in wrong]
    if not wrong:
        notes.append(
            "To move it all the same use switch-share, which loses nothing; or, when it answers and does not "
            "work, this with although_it_answers"
        )
    return FailoverPlan(
        share=seen.share.name,
        old=old.name,
        new=new.name,
        epoch=epoch,
        nodes=wrong,
        takes_over=False,
        claims=False,
        rewrites=seen.share.server.name != new.name or seen.ledger.moving,
        notes=tuple(notes),
    )


def _plan_takeover(seen: Situation, request: Request, old: Machine, new: Machine, epoch: int) -> FailoverPlan:
    ledger, record, returns = seen.ledger, seen.record(new.name), _returns(seen, new)
    _refuse_unfit(seen, old, new, epoch)
    promoted = seen.promoted(new.name, epoch)
    loss = None if promoted or returns else _bound_loss(seen, request, new)
    if request.fenced_by_hand and request.fenced_by_hand != old.name:
        raise PlanRefused(
            f"{request.fenced_by_hand!a} was said to be out of action, and it is {old.name} that has to be",
            f"Put {old.name} out of action, and type that name",
        )
    if request.automatic:
        _refuse_automatic(seen, old, request)
    return FailoverPlan(
        share=seen.share.name,
        old=old.name,
        new=new.name,
        epoch=epoch,
        nodes=seen.nodes,
        claims=(record.role, record.epoch) != (Role.TAKING_OVER, epoch) and not promoted,
        rewrites=seen.share.server.name != new.name or not ledger.moving,
        returns=returns,
        loss=loss,
        notes=_describe(seen, old, ledger, loss),
    )


def _returns(seen: Situation, new: Machine) -> bool:
    """Whether it is the server itself that serves again, after a failover that did not get to its end."""
    return seen.ledger.moving and seen.share.server.name == new.name


def _refuse_unfit(seen: Situation, old: Machine, new: Machine, epoch: int) -> None:
    """Raise PlanRefused for a standby that cannot be read, is not one, or has no disk."""
    look = seen.looks.get(new.name)
    if look is None:
        gone = f"; or, if it is gone for good, put its name into fenced_by_hand: {old.name} serves again then"
        raise PlanRefused(
            f"{new.name}, which would have to take over, cannot be read: {seen.unseen.get(new.name, '?')}",
            f"Bring it back{gone if seen.ledger.moving else ', or the server'}. Nothing was touched",
        )
    record = look.record
    fit = record.epoch == epoch and record.role in {Role.TAKING_OVER, Role.PRIMARY}
    fit |= record.epoch == epoch - 1 and record.role is Role.STANDBY
    fit |= record.epoch < epoch and record.role in {Role.FENCED, Role.PRIMARY} and _returns(seen, new)
    if not fit:
        raise PlanRefused(
            f"{new.name} is no standby under epoch {epoch - 1}: it is {record}",
            "Run rejoin-standby for it while the server is up, or bring the server back",
        )
    if record.role is not Role.PRIMARY and look.exports(seen.share):
        raise PlanRefused(
            f"{new.name} exports share {seen.share.name} already, and was not promoted",
            "Somebody did it by hand: take its exports back there",
        )
    refuse_unready(seen, old, new)
    if seen.share.disk and look.disk != "rw":
        state = "mounted read-only" if look.disk else "not mounted"
        raise PlanRefused(
            f"on {new.name} the share's disk {seen.share.disk} is {state}", "Mount it there read-write"
        )


def _bound_loss(seen: Situation, request: Request, new: Machine) -> float:
    if seen.lag is None:
        raise PlanRefused(
            f"{new.name} never got a whole copy under epoch {seen.record(new.name).epoch}",
            "What it has is unknown: bring the server back, and run sync-standby",
        )
    allowed = max(seen.share.recovery_point_seconds, request.accept_loss_seconds or 0)
    if seen.lag > allowed:
        raise PlanRefused(
            f"the copy on {new.name} is {seen.lag:.0f} s old, and share {seen.share.name} may lose "
            f"{seen.share.recovery_point_seconds} s",
            f"Bring the server back; or accept that with accept_loss_seconds of at least {seen.lag + 60:.0f}",
        )
    return seen.lag


def _refuse_automatic(seen: Situation, old: Machine, request: Request) -> None:
    """Raise PlanRefused where the policy wants a person: what it allows is decided by facts alone."""
    reasons = []
    if not seen.share.automatic_failover:
        reasons.append("its policy wants a person's approval")
    if not seen.agreed:
        reasons.append(f"the server is not known to be gone to a majority of the nodes ({seen.witnesses})")
    if request.accept_loss_seconds is not None or request.fenced_by_hand or request.although_it_answers:
        reasons.append("only a person may accept a loss, or say that a server is out of action")
    if old.name not in seen.looks and old.fence is None:
        reasons.append(f"{old.name} cannot be reached, and has no fence command")
    if reasons:
        raise PlanRefused(
            f"share {seen.share.name} cannot fail over by itself: {'; '.join(reasons)}",
            "Run failover-share without `automatic`, and approve it",
        )


def _describe(seen: Situation, old: Machine, ledger: Ledger, loss: float | None) -> tuple[str, ...]:
    notes = [f"{old.name}: {seen.witnesses}"] if seen.witnesses else []
    if loss is not None:
        notes.append(
            f"what was written in the last {loss:.0f} s may be lost (the share may lose "
            f"{seen.share.recovery_point_seconds} s)"
        )
    ways = ["over SSH"] if old.name in seen.looks else []
    ways += [f"by the command {old.fence.argv[0]}"] if old.fence else []
    unseen = seen.unseen.get(old.name, "")
    how = (
        f"{old.name} can be fenced {' or '.join(ways)}"
        if ways
        else (
            f"{old.name} cannot be fenced from here ({unseen}): type its name into fenced_by_hand when it is "
            "switched off"
        )
    )
    notes.append(how)
    if ledger.moving and ledger.server == old.name:
        notes.append(f"{old.name} was about to take over and is gone: {seen.share.server.name} serves again")
    elif ledger.moving:
        notes.append("an earlier run began this, and it goes on where that ended")
    return tuple(notes)


def _find(seen: Situation, name: str) -> Machine:
    for server in seen.servers:
        if server.name == name:
            return server
    raise PlanRefused(
        f"{name} serves share {seen.share.name} (epoch {seen.ledger.epoch}), and is neither its server nor "
        "its standby in the inventory",
        "Correct the inventory: a share's servers are only exchanged by failover-share and switch-share",
    )


def _other(seen: Situation, one: Machine) -> Machine:
    return next(server for server in seen.servers if server.name != one.name)
