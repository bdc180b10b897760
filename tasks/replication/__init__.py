"""A share's standby: a copy of both trees, made from server to server, and proven by a token."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.fleet import Machine, Share
from tasks.outcome import Outcome
from tasks.replication import apply, facts
from tasks.replication.orphans import find_orphans
from tasks.replication.plan import SyncPlan, plan_sync
from tasks.replication.safety import Purpose
from tasks.replication.standing import Standing, State, is_news, judge, name_trouble, parse_standing
from tasks.replication.values import Difference, Side, StandbyState, SyncProof, loss_bound
from tasks.steps import fact_task, host_task

__all__ = [
    "Difference",
    "Purpose",
    "Side",
    "StandbyState",
    "Standing",
    "State",
    "SyncPlan",
    "SyncProof",
    "copy_trees",
    "find_orphans",
    "is_news",
    "judge",
    "list_differences",
    "list_unlike",
    "loss_bound",
    "name_trouble",
    "parse_standing",
    "plan_sync",
    "prepare_way",
    "read_side",
    "read_standby",
    "save_aside",
]


# None of these is tried again by itself: a standby that is silent is reported, and the next run is soon.
@fact_task("read side of a copy", run_name="read copies on {server.name}", retries=0)
def read_side(server: Machine, peer: Machine, share: Share) -> Side:
    """What the server is for a copy to or from the other, within seconds."""
    return facts.read_side(server, peer, share)


@fact_task("read standby", run_name="read standby {standby.name}", retries=0)
def read_standby(standby: Machine, share: Share) -> StandbyState:
    """What the standby has, by its own tokens, within seconds."""
    return facts.read_standby(standby, share)


@fact_task("list differences", run_name="list what only {destination.name} has", retries=0)
def list_differences(destination: Machine, source: Machine, share: Share) -> tuple[Difference, ...]:
    """Everything on the destination that a copy would take away or replace."""
    return facts.list_differences(source, destination, share)


@fact_task("compare", run_name="compare {destination.name} with {source.name}", retries=0)
def list_unlike(destination: Machine, source: Machine, share: Share) -> tuple[Difference, ...]:
    """Everything in which the destination is not like the source, also what it lacks."""
    return facts.list_unlike(source, destination, share)


@host_task("prepare copy", run_name="let {source.name} copy to {destination.name}", retries=0)
def prepare_way(
    destination: Machine,
    source: Machine,
    sides: tuple[Side, Side],
    share: Share,
    plan: SyncPlan,
    address: str,
) -> Outcome:
    """The source may copy the share to the destination; `sides` are the source's and the destination's."""
    here, there = sides
    return apply.prepare_way((source, here), (destination, there), share, plan, address)


@host_task("copy share", run_name="copy {share.name} to {destination.name}", retries=0)
def copy_trees(
    destination: Machine, source: Machine, share: Share, plan: SyncPlan, started: float, seconds: float
) -> Outcome:
    """The destination has both trees as they were when this was started, and a token that proves it."""
    proof, figures = apply.sync_trees(source, destination, share, plan, started, seconds)
    took = proof.finished - proof.started
    moved = bool(figures.files or figures.deleted)
    detail = f"copy {proof.sequence} from {source.name}: {figures}, {took:.1f} s"
    return Outcome(destination.name, "copy share", changed=moved, detail=detail)


@host_task("save aside", run_name="save aside on {server.name}", retries=0)
def save_aside(server: Machine, share: Share, orphans: Sequence[Difference], stamp: str) -> Outcome:
    """What only the server has is also in a directory outside of what it exports."""
    folders = apply.save_aside(server, share, tuple(orphans), stamp)
    detail = f"{len(orphans)} files in {' and '.join(folders.values())}" if folders else "nothing to save"
    return Outcome(server.name, "save aside", changed=bool(folders), detail=detail)
