"""rejoin-standby: a server that was put out of action becomes the share's standby, and loses nothing it has.

Trigger: by hand, after a failover, when the old server is back; for a standby that was made anew.
Effect: all in which the old server differs is saved aside on its own disk, beside the exported directories,
    in `.packmaster-saved/<share>-<time>`: as links, so that nothing has to be copied and nothing can change
    it. The table `orphans-<share>` lists it, first what was written after the last copy by that server's
    clock, and only it has. Its space is free again when you delete that directory. Then the share is copied
    to it from the server that serves now, taking away what that has not; a token proves it; and it is the
    standby from then on, which asks before it exports after a boot, and may take over.
Rollback: none is needed: what is overwritten has been saved. It never touches the server that serves.
Safe to re-run? Yes, also after a kill: what was saved stays saved, and the copy is finished.
3 a.m.: it is refused where the way would be the wrong one: the server in the inventory has to be the one that
    serves, of the higher epoch. Sites go on meanwhile. To go back to the old server afterwards, run
    switch-share.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from prefect.client.schemas.objects import State

from blocks import Share
from flows.enlist import enlist, refuse_other_server
from flows.gather import Facts, gather
from flows.locks import hold
from flows.operation import operation
from flows.publish import conclude, publish_plan, publish_table
from flows.standby import carry_out, look_at_sides, plan_copy
from tasks import fleet
from tasks.errors import PlanRefused
from tasks.fencing import Role, open_disk, withdraw_claim
from tasks.fleet import Machine, Target
from tasks.liveness import resolve_address
from tasks.outcome import Outcomes
from tasks.replication import (
    Difference,
    Side,
    SyncPlan,
    find_orphans,
    list_differences,
    prepare_way,
    save_aside,
)
from tasks.steps import join_outcomes

# A table in the UI; all of them are in the directory.
MOST_ROWS = 500


@operation("rejoin-standby", runbook=__doc__, run_name="rejoin standby of {share.name}")
def rejoin_standby(share: Share, dry_run: bool = False) -> State[Outcomes]:
    """Make a server that was put out of action the share's standby again.

    Args:
        share: The share; its server is the one that serves, its standby the one that comes back.
        dry_run: Only show what would be done.
    """
    about = f"rejoin {share.name}"
    with hold(Target(share.name, (), share=share.resolve())):
        found = (Share.find(share.name) or share).resolve()
        refuse_other_server(found)
        old = refuse_alone(found)
        seen = look_at_sides(found, found.server, old)
        outcomes = seen.unread
        if not outcomes.failed:
            plan = plan_copy(found, found.server, old, seen, "rejoin")
            publish_plan(about, plan)
            if not dry_run:
                claim = seen.seen[old.name].record
                if claim.role is Role.TAKING_OVER:
                    outcomes += join_outcomes([withdraw_claim.submit(old, found, claim.epoch)])
                # Not before it was seen to export nothing: what fencing closed was closed to clients, too.
                outcomes += join_outcomes([open_disk.submit(old, found)])
                outcomes += take_back(found, old, seen, plan) if not outcomes.failed else ()
    return conclude(about, outcomes)


def take_back(share: fleet.Share, old: Machine, seen: Facts[Side], plan: SyncPlan) -> Outcomes:
    """What only `old` has is saved, all else is as on the server, and it is the standby."""
    outcomes, sides = Outcomes(), (seen.seen[share.server.name], seen.seen[old.name])
    if plan.prepares:
        address = resolve_address(share.server.address)
        outcomes += join_outcomes([prepare_way.submit(old, share.server, sides, share, plan, address)])
    if not outcomes.failed and not plan.adopts:
        outcomes += save_orphans(share, old, sides[0])
    if not outcomes.failed:
        outcomes += carry_out(share, share.server, old, seen, replace(plan, prepares=()))
    if not outcomes.failed:
        outcomes += enlist(share, synced=True)
    return outcomes


def save_orphans(share: fleet.Share, old: Machine, server: Side) -> Outcomes:
    """All that the copy is going to replace or take away on `old` is saved there, and listed.

    Which of it nobody else has only `old`'s clock could tell, and that may have been wrong: so all of it is.
    """
    listed = gather("list differences", [list_differences.submit(old, share.server, share)])
    if listed.unread:
        return listed.unread
    found = listed.seen[old.name]
    orphans = find_orphans(found, server.proof(share))
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    outcomes = join_outcomes([save_aside.submit(old, share, found, stamp)])
    others = sorted(set(found) - set(orphans), key=lambda one: (one.tree, one.path))
    rows = [describe(one, since=True) for one in orphans] + [describe(one, since=False) for one in others]
    publish_table("orphans", share.name, rows[:MOST_ROWS], _headline(len(orphans), len(found), stamp))
    return outcomes


def describe(one: Difference, *, since: bool) -> dict[str, str]:
    """A row of the table."""
    return {
        "tree": one.tree,
        "name": one.name,
        "kind": one.kind,
        "size": str(one.size),
        "written": datetime.fromtimestamp(one.changed, UTC).strftime("%Y-%m-%d %H:%M:%SZ"),
        "after the last copy": "yes" if since else "no, by its clock",
        "on the server": "not there" if one.vanishes else "another version",
    }


def refuse_alone(share: fleet.Share) -> Machine:
    """The share's standby; PlanRefused when it has none."""
    if share.standby is None:
        raise PlanRefused(f"share {share.name} has no standby", "Register the old server as its standby")
    return share.standby


def _headline(orphans: int, found: int, stamp: str) -> str:
    if not found:
        return "The old server has nothing that the new one has not."
    return (
        f"{orphans} that only the old server has, by its clock, and {found - orphans} others in which it "
        f"differs; all saved on it, in .packmaster-saved/…-{stamp}."
    )
