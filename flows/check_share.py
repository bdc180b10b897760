"""check-share: what nodes and server see of a share: one verdict each, and an event when one changes.

Trigger: each minute by its schedule, for every share that a pack uses; by hand for one, when something
    looks wrong.
Effect: each node asks the server over NFS, looks into the mount table, and reads, and where it may writes,
    a small file through each mount, as the platform user; the server is asked for its threads, exports,
    disk and space; the controller asks the server itself. All of that is bounded: a mount that hangs holds
    up neither the worker nor, with more than one process, the node. A verdict is raised by three samples in
    a row and cleared by two; when something looks otherwise than before, the run takes up to five samples
    by itself. The table `share-<name>` shows what is so since when, and is what the next run goes on from.
    Others are told of changes only: one event (`packmaster.share.unhealthy`, `changed`, `failing_over` or
    `recovered`) a run, and `filling` when less than 5 % of the disk or its inodes are left. The run fails
    while a mount or a server is not as it should be. A share is watched from when a node is first seen to
    have it mounted: one that is registered and was never provisioned is nobody's alarm. Nothing is mended.
    While controller and most nodes agree that the server is gone, and the share's policy lets it fail over by
    itself, each run says so (`packmaster.share.standby_wanted`), and an automation starts failover-share,
    unless a run is at it.
Rollback: none needed; it only looks. It leaves one small file a node, `.packmaster-probe-<node>`, in the
    data.
Safe to re-run? Yes, at any time, also beside a run that is working on the same machines.
3 a.m.: a row says whose trouble it is. The server HUNG: controller and most nodes do not reach it; bring it
    back, rows `because of` it follow by themselves. One node HUNG, the server OK: that node's network or
    kernel. The controller's path HUNG alone: only the watch is blind. STALE, NOT_MOUNTED or WRONG_SERVER:
    run repair-share. DENIED, IDMAP_MISMATCH, READ_ONLY: the detail says why; provision-pack puts exports,
    ids and options right. UNSEEN: the machine does not answer over SSH. DEGRADED: the cluster that keeps the
    share available could not do it once more; the detail says what Pacemaker or DRBD shows. DRAINED: the
    node's mounts work, and php-fpm is still stopped after a run that was killed, or could not go on: run
    repair-share, which starts it. "Is not watched yet" of a share that worked before: its table
    was deleted while no node answers; look at the nodes.
"""

from __future__ import annotations

import json

from prefect import get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.client.schemas.objects import State
from prefect.states import Completed

from blocks import Pack, Share
from flows.locks import is_at_work
from flows.operation import operation
from flows.overview import refresh_quietly
from flows.publish import announce, artifact_key
from flows.watch import Circle, Looked, find_circle, look, take_sample
from tasks.errors import Drift, PackmasterError
from tasks.liveness import Change, Watch, find_changes, find_warning, parse_rows, summarise
from tasks.liveness.quorum import SERVER, is_agreed
from tasks.liveness.values import Verdict

NAME = "check-share"


@operation(NAME, runbook=__doc__, run_name="check share", overview=False)
def check_share(share: Share | None = None, dry_run: bool = False) -> State[dict[str, str]]:
    """Look at what nodes and server see of a share.

    Args:
        share: The share to look at; empty for every share that a pack uses.
        dry_run: Look once and show it; nothing is remembered, and nobody is told.
    """
    shares = [share] if share is not None else find_shares()
    said: dict[str, str] = {}
    troubles: dict[str, str] = {}
    for each in shares:
        try:
            circle = find_circle(each)
            well, text = look_once(circle) if dry_run else watch_over(circle)
        except PackmasterError as failure:
            well, text = False, str(failure)
        (said if well else troubles)[each.name] = text
    if troubles:
        raise Drift("\n".join(f"share {name}: {text}" for name, text in (troubles | said).items()))
    message = "\n".join(f"share {name} {text}" for name, text in said.items())
    return Completed(message=message or "No pack uses a share.", data=said)


def find_shares() -> list[Share]:
    """Every share that a pack uses, by name."""
    used = {pack.share.name: pack.share for pack in Pack.find_all().values()}
    return [used[name] for name in sorted(used)]


def watch_over(circle: Circle) -> tuple[bool, str]:
    """Look, tell others what changed, and keep what is so; whether it is well, and a sentence."""
    name = circle.share.name
    before = read_history(name)
    looked = look(circle, before)
    if not before.rows and not looked.watch.mounted:
        return True, "is not watched yet: no node was ever seen to have it mounted; run provision-pack."
    changes = find_changes(before, looked.watch)
    # Told first, kept afterwards: a run that is killed in between tells it twice, and not never.
    tell(name, before, looked.watch, changes)
    warn(name, find_warning(before, looked.watch))
    text = summarise(looked.watch, changes)
    create_table_artifact(
        key=artifact_key("share", name),
        table=looked.watch.as_rows(),
        description=f"**Share {name}** {text} {looked.samples} sample(s).",
    )
    if wants_standby(circle, looked) and not is_at_work(name):
        announce("share.standby_wanted", name, {"detail": text})
    if changes or not before.rows:
        refresh_quietly()
    return not looked.watch.unhealthy, text


def look_once(circle: Circle) -> tuple[bool, str]:
    """One sample, shown as the table `look-share-<name>`, and whether all was well in it."""
    _, found = take_sample(circle)
    rows = [
        {"machine": machine, "mount": mount, "verdict": one.verdict.value, "detail": one.detail}
        for (machine, mount), one in found.items()
    ]
    create_table_artifact(key=artifact_key("look", "share", circle.share.name), table=rows)
    bad = [
        f"{machine} {mount} looks {one.verdict}"
        for (machine, mount), one in found.items()
        if not one.verdict.healthy
    ]
    return not bad, "; ".join(bad) or "looks well in one sample"


def read_history(share: str) -> Watch:
    """What the last run's table says; nothing for a share that was never looked at."""
    wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[artifact_key("share", share)]))
    with get_client(sync_client=True) as client:
        kept = client.read_latest_artifacts(artifact_filter=wanted)
    data = kept[0].data if kept else None
    return parse_rows(json.loads(data)) if isinstance(data, str) else Watch()


def tell(share: str, before: Watch, after: Watch, changes: tuple[Change, ...]) -> None:
    """Others get one event about everything that changed, and none when nothing did."""
    if not changes:
        return
    for change in changes:
        get_run_logger().warning("share %s: %s", share, change)
    announce(
        f"share.{name_event(before, after)}",
        share,
        {
            "changes": "\n".join(str(change) for change in changes),
            "machines": ", ".join(dict.fromkeys(change.machine for change in changes)),
            "verdict": changes[0].now.value,
        },
    )


def warn(share: str, warning: str) -> None:
    """Others get one event when the server's disk begins to fill up, while everything still works."""
    if warning:
        get_run_logger().warning("share %s: %s", share, warning)
        announce("share.filling", share, {"detail": warning})


def wants_standby(circle: Circle, looked: Looked) -> bool:
    """Whether the share's policy lets its standby take over, and its server is held and known to be gone."""
    share = circle.share
    row = looked.watch.rows.get((share.server.name, SERVER))
    gone = row is not None and row.announced is Verdict.HUNG and is_agreed(circle.watched, looked.sample)
    return gone and share.automatic_failover and share.standby is not None


def name_event(before: Watch, after: Watch) -> str:
    """recovered, failing_over, unhealthy (it was well before) or changed."""
    told = {row.announced for row in after.rows.values()}
    if all(verdict.healthy for verdict in told):
        return "failing_over" if Verdict.FAILING_OVER in told else "recovered"
    was_well = all(row.announced.healthy for row in before.rows.values())
    return "unhealthy" if was_well else "changed"
