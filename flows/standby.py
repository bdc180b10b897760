"""A share's copy on its standby: made, proven, judged, and told of when that changes.

sync-standby does it on a schedule; what deploys to a pack does it at its end; a switch and a standby that
rejoins do it on their way. All of them hold the share's lock.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

from prefect import get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey

from flows.enlist import refuse_other_server
from flows.gather import Facts, gather
from flows.publish import announce, artifact_key, publish_plan
from tasks.errors import PackmasterError, PlanRefused
from tasks.fleet import Machine, Share, Target
from tasks.liveness import resolve_address
from tasks.outcome import Outcome, Outcomes
from tasks.replication import (
    Purpose,
    Side,
    Standing,
    State,
    SyncPlan,
    copy_trees,
    is_news,
    judge,
    name_trouble,
    parse_standing,
    plan_sync,
    prepare_way,
    read_side,
    read_standby,
)
from tasks.steps import join_outcomes

STEP = "copy to standby"
# A first copy, or one after a long silence, may move everything; what deploys does not wait for that long.
COPY_SECONDS = 6 * 3600.0
AFTERWARDS_SECONDS = 600.0


def look_at_sides(share: Share, source: Machine, destination: Machine) -> Facts[Side]:
    """What both servers are for a copy, by name; asked at the same time."""
    futures = [read_side.submit(source, destination, share), read_side.submit(destination, source, share)]
    return gather("read side of a copy", futures)


def plan_copy(
    share: Share, source: Machine, destination: Machine, seen: Facts[Side], purpose: Purpose = "standby"
) -> SyncPlan:
    """Plan a copy of both servers that answered; raises PlanRefused."""
    sides = (seen.seen[source.name], seen.seen[destination.name])
    return plan_sync(share, *sides, destination, resolve_address(source.address), purpose)


def copy_share(
    share: Share,
    source: Machine,
    destination: Machine,
    purpose: Purpose = "standby",
    seconds: float = COPY_SECONDS,
) -> Outcomes:
    """The destination has what was written to the source before this was called, and a token proves it.

    Each of the two trees may take `seconds`. Whoever calls holds the share's lock. Raises PlanRefused.
    """
    seen = look_at_sides(share, source, destination)
    if seen.unread:
        return seen.unread
    plan = plan_copy(share, source, destination, seen, purpose)
    if plan.prepares or plan.adopts:
        publish_plan(f"copy {share.name}", plan)
    return carry_out(share, source, destination, seen, plan, seconds)


def carry_out(
    share: Share,
    source: Machine,
    destination: Machine,
    seen: Facts[Side],
    plan: SyncPlan,
    seconds: float = COPY_SECONDS,
) -> Outcomes:
    """The way is prepared where it is not, and the share copied."""
    sides = (seen.seen[source.name], seen.seen[destination.name])
    outcomes = Outcomes()
    if plan.prepares:
        address = resolve_address(source.address)
        outcomes += join_outcomes([prepare_way.submit(destination, source, sides, share, plan, address)])
    if not outcomes.failed:
        done = copy_trees.submit(destination, source, share, plan, time.time(), seconds)
        outcomes += join_outcomes([done])
    return outcomes


def bring_up_to_date(share: Share, seconds: float = COPY_SECONDS) -> tuple[Standing, Outcomes]:
    """The share's standby has a new copy, or others know why not; the table `standby-<share>` shows it.

    Whoever calls holds the share's lock. Raises nothing of ours: what was refused is an Outcome, too.
    """
    standby = _standby_of(share)
    try:
        refuse_other_server(share)
        outcomes = copy_share(share, share.server, standby, seconds=seconds)
        trouble = name_trouble(outcomes.failed[0].error or "") if outcomes.failed else None
    except PlanRefused as refused:
        outcomes = Outcomes((Outcome(standby.name, STEP, error=str(refused)),))
        trouble = name_trouble(str(refused), refused=True)
    before = read_standing(share.name)
    # Its own token says what it has, whatever became of the copy.
    found = gather("read standby", [read_standby.submit(standby, share)]).seen.get(standby.name)
    after = judge(share, before, found.proof if found else None, trouble, datetime.now(UTC))
    _tell(share, before, after)
    return after, outcomes


def copy_afterwards(fleet: Target, outcomes: Outcomes) -> Outcomes:
    """The standby of a pack's share has what a run changed; one that has not is said, and fails nothing."""
    share = fleet.share
    if share is None or share.standby is None or share.mode == "external" or not outcomes.changed:
        return Outcomes()
    began = time.monotonic()
    try:
        standing, copied = bring_up_to_date(share, AFTERWARDS_SECONDS)
        detail, well = str(standing), standing.state is State.OK and not copied.failed
    except PackmasterError as failure:
        detail, well = str(failure), False
    if not well:
        detail = f"NOT copied, sync-standby will try again: {detail}"
        get_run_logger().warning("%s", detail)
    took = time.monotonic() - began
    return Outcomes((Outcome(share.standby.name, STEP, changed=well, detail=detail, seconds=took),))


def read_standing(share: str) -> Standing | None:
    """What the last run's table says; None for a share that was never copied."""
    key = ArtifactCollectionFilterKey(any_=[artifact_key("standby", share)])
    with get_client(sync_client=True) as client:
        kept = client.read_latest_artifacts(artifact_filter=ArtifactCollectionFilter(key=key))
    data = kept[0].data if kept else None
    return parse_standing(json.loads(data)) if isinstance(data, str) else None


def _tell(share: Share, before: Standing | None, after: Standing) -> None:
    """One event when the standby's state changed, and the table in any case."""
    # Told first, kept afterwards: a run that is killed in between tells it twice, and not never.
    if is_news(before, after):
        get_run_logger().warning("share %s: %s", share.name, after)
        lag = "" if after.lag is None else f"{after.lag:.0f}"
        payload = {"standby": after.standby, "state": after.state.value, "lag": lag, "detail": after.detail}
        announce(f"share.{after.event}", share.name, payload)
    create_table_artifact(
        key=artifact_key("standby", share.name),
        table=after.as_rows(),
        description=f"**Share {share.name}: {after}.** It may lose {share.recovery_point_seconds} s.",
    )


def _standby_of(share: Share) -> Machine:
    if share.standby is None or share.mode == "external":
        raise PlanRefused(
            f"share {share.name} has no standby that Packmaster could copy to",
            "Give it one, in mode replica; one of mode external is copied by other means",
        )
    return share.standby
