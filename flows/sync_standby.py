"""sync-standby: the standby of a share has a copy of its code and data that is not older than it may be.

Trigger: by its schedule, for every share that a pack uses and that has a standby; at the end of whatever
    deploys to such a pack; by hand for one.
Effect: both directories are copied with rsync, directly from the server to the standby, over SSH with a key
    of the server's own, which opens nothing there but those two directories, to write only, and only while
    the standby serves nobody. Hard links, numeric owners, modes, ACLs and extended attributes are kept; what
    is gone from the server is taken away from the standby at the end of the copy. A numbered token, written
    on the server before, is the standby's when all has arrived and is on its disk: it proves what the standby
    has. The table `standby-<share>` shows how old that is: what would be lost with the server. Others are
    told of changes only: `packmaster.share.standby_behind` (older than the share's recovery point),
    `standby_full`, `standby_unreachable`, `standby_refused`, `standby_failed`, `standby_recovered`.
Rollback: none. A copy that ends early leaves the last proof in force, and is finished by the next.
Safe to re-run? Yes, also after a kill: what was left behind is ended, and the copy is made again.
3 a.m.: nobody is served from the standby; what is served is not affected. FULL: make room there.
    UNREACHABLE: from the controller, or from the server, which needs the standby's SSH port. REFUSED says
    what would have been destroyed: a disk that is not mounted, trees that are not those of the last copy, a
    standby that exports, or that has taken over. After a failover run rejoin-standby.
"""

from __future__ import annotations

from prefect.client.schemas.objects import State

from blocks import Pack, Share
from flows.locks import hold
from flows.operation import operation
from flows.publish import conclude, publish_outcomes, publish_plan
from flows.standby import STEP, bring_up_to_date, look_at_sides, plan_copy
from tasks import fleet
from tasks.errors import PackmasterError, PlanRefused
from tasks.fleet import Target
from tasks.outcome import Outcome, Outcomes


@operation("sync-standby", runbook=__doc__, run_name="sync standby")
def sync_standby(share: Share | None = None, dry_run: bool = False) -> State[Outcomes]:
    """Copy a share to its standby, and say how old what the standby has is.

    Args:
        share: The share to copy; empty for every one that a pack uses and that has a standby.
        dry_run: Only show what would be done.
    """
    if share is not None and share.standby is None:
        raise PlanRefused(f"share {share.name} has no standby", "Register one, or choose another share")
    shares = [share] if share is not None else find_replicated()
    outcomes = Outcomes()
    for each in shares:
        try:
            outcomes += sync(each, dry_run)
        except PackmasterError as failure:
            outcomes += [Outcome(each.name, STEP, error=str(failure))]
    return conclude("sync standby" if share is None else f"sync {share.name}", outcomes)


def sync(share: Share, dry_run: bool) -> Outcomes:
    """Copy one share, or only show the plan, while nobody else works on its servers."""
    with hold(Target(share.name, (), share=share.resolve())):
        # Whoever held the lock until now may have exchanged the servers.
        found = (Share.find(share.name) or share).resolve()
        return show_plan(found) if dry_run else bring_up_to_date(found)[1]


def find_replicated() -> list[Share]:
    """Every share that a pack uses and that has a standby, by name."""
    used = {pack.share.name: pack.share for pack in Pack.find_all().values()}
    return [used[name] for name in sorted(used) if used[name].standby is not None]


def show_plan(share: fleet.Share) -> Outcomes:
    """What a copy would do, or the servers that could not be read; nothing is changed."""
    if share.standby is None:
        return Outcomes()
    about = f"copy {share.name}"
    seen = look_at_sides(share, share.server, share.standby)
    if seen.unread:
        publish_outcomes(about, seen.unread)
        return seen.unread
    publish_plan(about, plan_copy(share, share.server, share.standby, seen))
    return Outcomes()
