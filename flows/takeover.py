"""What failover-share and switch-share have in common: looking around, promoting, moving nodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from prefect.futures import PrefectFuture, as_completed

from blocks import Share
from flows.gather import gather
from flows.ledger import read_ledger, write_ledger
from flows.operation import FAN_OUT
from flows.publish import announce
from flows.repair_share import find_checks
from flows.timeline import Timeline
from flows.watch import Circle, find_circle, look
from tasks import fleet
from tasks.errors import PlanRefused
from tasks.failover import (
    FailoverPlan,
    Ledger,
    Situation,
    detach_by_force,
    export_all,
    find_detached,
    find_misplaced,
    foresee_exports,
    move_node,
)
from tasks.fencing import Record, Role, open_disk, read_server, set_record, stop_copying, write_tokens
from tasks.fencing.apply import token_of
from tasks.fleet import Machine, Target
from tasks.liveness import Verdict, Watch
from tasks.liveness.quorum import SERVER, is_agreed, is_down
from tasks.outcome import Outcome, Outcomes
from tasks.replication import read_standby
from tasks.replication.values import loss_bound
from tasks.steps import Gathered, join, join_outcomes
from tasks.web import check_sites

# Of a flow's threads, these are left for what must not wait for nodes that hang.
SPARE_THREADS = 4


def look_around(share: Share) -> Situation:
    """What servers, nodes and the controller see, about the server that is to be replaced, or that serves.

    The quorum's verdict needs three samples to say that a server is gone.
    """
    ledger = read_ledger(share.name)
    resolved = share.resolve()
    servers = [resolved.server, *([resolved.standby] if resolved.standby else [])]
    others = [server.name for server in servers if server.name != ledger.server]
    circle = find_circle(share, others[0] if ledger.moving and others else ledger.server)
    asked = [read_server.submit(server, resolved) for server in servers]
    foreseen = foresee(circle, resolved, ledger)
    looked = look(circle, Watch())
    looks = gather("read NFS server", asked)
    verdict = looked.watch.rows[circle.watched.server, SERVER]
    standby = next((server for server in servers if server.name != circle.watched.server), None)
    return Situation(
        share=resolved,
        ledger=ledger,
        looks=looks.seen,
        unseen={outcome.host: outcome.error or "" for outcome in looks.unread},
        nodes=tuple(circle.nodes),
        misplaced=find_misplaced(circle.watched, looked.sample),
        detached=find_detached(circle.watched, looked.sample),
        # A server that is only slow to look into itself serves.
        down=verdict.verdict is Verdict.HUNG and is_down(circle.watched, looked.sample),
        agreed=verdict.verdict is Verdict.HUNG and is_agreed(circle.watched, looked.sample),
        witnesses=f"{verdict.verdict} ({verdict.detail})",
        # While it is moving, the standby's copy is of the epoch before.
        lag=read_lag(standby, resolved, ledger.epoch - ledger.moving) if standby else None,
        # One that cannot be asked is not one that could not.
        unready={one.host: one.value for one in join(foreseen) if one.value},
    )


def foresee(circle: Circle, share: fleet.Share, ledger: Ledger) -> list[PrefectFuture[Gathered[str]]]:
    """Each server that may have to export the share, and does not, begins to say whether it could."""
    pack = pack_of(circle)
    serving = "" if ledger.moving else ledger.server
    servers = [server for server in (share.server, share.standby) if server and server.name != serving]
    served = {server.name: share.served_by(server.name) for server in servers}
    return [
        foresee_exports.submit(server, served[server.name], replace(pack, share=served[server.name]))
        for server in servers
    ]


def read_lag(standby: Machine, share: fleet.Share, epoch: int) -> float | None:
    """How many seconds of what was written the standby may lack; None when it has no copy of this epoch."""
    copies = gather("read copy", [read_standby.submit(standby, share)]).seen
    proof = copies[standby.name].proof if copies else None
    return loss_bound(proof, time.time()) if proof is not None and proof.epoch == epoch else None


def promote(share: Share, plan: FailoverPlan) -> Outcomes:
    """`plan.new` serves the share under the plan's epoch. Its predecessor is known to be out of action."""
    circle = find_circle(share, plan.new)
    served, target = circle.share, pack_of(circle)
    new = served.server
    steps: tuple[Callable[[], PrefectFuture[Outcome]], ...] = (
        lambda: stop_copying.submit(new, served),
        lambda: open_disk.submit(new, served),
        lambda: set_record.submit(new, served, Record(plan.epoch, Role.PRIMARY)),
        lambda: write_tokens.submit(new, served, plan.epoch),
        lambda: export_all.submit(new, served, target),
    )
    outcomes = Outcomes()
    for step in steps:
        outcomes += join_outcomes([step()])
        if outcomes.failed:
            break
    return outcomes


def register(share: Share, plan: FailoverPlan, before: Ledger) -> None:
    """Ledger and inventory say that `plan.new` serves the share; others are told."""
    write_ledger(share.name, before, Ledger(plan.epoch, plan.new))
    current = Share.get(share.name, "failover")
    if current.server.name == plan.new:
        return
    current.exchange_servers()
    announce("share.moved", share.name, {"from": plan.old, "to": plan.new, "epoch": str(plan.epoch)})


def detach(share: Share, plan: FailoverPlan, replaced: str) -> dict[str, PrefectFuture[Outcome]]:
    """By name, the plan's nodes begin to let go of the address `replaced`, whose server is out of action.

    Nobody need wait for these: what they did not do is done when a node is moved. There are fewer than the
    flow has threads, so that whoever is promoted meanwhile waits for none that hangs.
    """
    circle = find_circle(share, plan.new)
    target, members = pack_of(circle), [one for one in circle.watched.members if one.name in plan.nodes]
    return {
        one.name: detach_by_force.submit(circle.nodes[one.name], target, one, replaced)
        for one in members[: FAN_OUT - SPARE_THREADS]
    }


def settle(futures: Mapping[str, PrefectFuture[Outcome]], step: str) -> Outcomes:
    """Wait for what was begun beside something else: what became of it, by host, whatever it was."""
    found = {name: future.result(raise_on_failure=False) for name, future in futures.items()}
    return Outcomes(
        tuple(
            one
            if isinstance(one, Outcome)
            else Outcome(name, step, error=f"it ended without a result: {one!a}")
            for name, one in found.items()
        )
    )


def move(
    share: Share,
    nodes: Collection[str],
    *,
    replaced: str = "",
    after: Mapping[str, PrefectFuture[Outcome]] | None = None,
    line: Timeline | None = None,
) -> Outcomes:
    """The named nodes work from the share's server, each for itself; their sites answer.

    What is mounted from the address `replaced` is taken away by force. What is being done on a node already,
    `after`, is waited for before it is moved, and by no other node. `line` gets when each was there.
    """
    circle, after = find_circle(share), after or {}
    target, watched = pack_of(circle), replace(circle.watched, token=token_for(circle.share))
    members = {member.name: member for member in watched.members if member.name in nodes}
    moving: dict[str, PrefectFuture[Outcome]] = {}
    ended: dict[str, datetime] = {}

    def begin(name: str) -> None:
        def note(_: object) -> None:
            ended[name] = datetime.now(UTC)

        moving[name] = move_node.submit(circle.nodes[name], target, watched, members[name], replaced)
        moving[name].add_done_callback(note)

    for name in members:
        if name not in after:
            begin(name)
    names = {future.task_run_id: name for name, future in after.items() if name in members}
    for future in as_completed([after[name] for name in names.values()]):
        begin(names[future.task_run_id])
    outcomes = join_outcomes(moving.values())
    for outcome in outcomes:
        if line is not None:
            line.add(outcome, ended.get(outcome.host, datetime.now(UTC)))
    checks = find_checks(circle)
    moved = [circle.nodes[name] for name in members if name not in outcomes.failed_hosts]
    return outcomes + join_outcomes([check_sites.submit(node, checks) for node in moved if checks])


def token_for(share: fleet.Share) -> str:
    """What the share's trees have to say to who mounts them; empty for one that has no epoch."""
    ledger = read_ledger(share.name)
    known = ledger.epoch and not ledger.moving and ledger.server == share.server.name
    return token_of(share.server, ledger.epoch) if known else ""


def pack_of(circle: Circle) -> Target:
    """The one pack that uses the share; PlanRefused when there are several."""
    if len(circle.targets) != 1:
        raise PlanRefused(
            f"share {circle.share.name} is used by {len(circle.targets)} packs",
            "Give each pack its own share",
        )
    return circle.targets[0]
