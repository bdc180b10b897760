"""What a copy must never do: go the wrong way, start from what is not there, end where others write. Pure."""

from __future__ import annotations

from typing import Literal

from tasks.errors import PlanRefused
from tasks.fencing.record import Role
from tasks.fleet import Share
from tasks.replication.values import Side, SyncProof

# `standby` is the everyday copy. `switch` is the last one before a planned switch, from a server that serves
# nobody any more. `rejoin` overwrites a server that was put out of action, after what it had was saved.
Purpose = Literal["standby", "switch", "rejoin"]

# Left free on the destination besides what the source has more of: what is replaced is there twice meanwhile.
SPARE_BYTES = 16 * 1024 * 1024
SPARE_INODES = 1000


def paths_of(share: Share) -> tuple[str, str]:
    """Both trees, in the order of the modules."""
    return share.code_path, share.data_path


def last_token(share: Share, side: Side) -> SyncProof | None:
    """The token of a side that was written last, whether or not its copy was whole; None for none at all."""
    found = [side.tree(path).token for path in paths_of(share)]
    tokens = [token for token in found if token is not None and token.sequence]
    return max(tokens, key=lambda token: token.order, default=None)


def refuse_wrong_way(share: Share, here: Side, there: Side, purpose: Purpose) -> None:
    """Raise PlanRefused unless the source is the one that serves, and the destination one that must not."""
    ours, theirs = here.record, there.record
    # What was about to take over, and was overtaken itself, never served.
    overtaken = theirs.role is Role.TAKING_OVER and theirs.epoch < ours.epoch
    taken_over = theirs.role in {Role.PRIMARY, Role.TAKING_OVER} and not overtaken
    if theirs.epoch > ours.epoch or taken_over:
        raise PlanRefused(
            f"{here.host} is {ours} of share {share.name}, and {there.host} is {theirs}: the copy would go "
            "the wrong way, over what is newer",
            f"If {there.host} has taken over, make it the share's server in the inventory, and run "
            "rejoin-standby",
        )
    serving = {Role.PRIMARY, *([Role.FENCED] if purpose == "switch" else [])}
    unrecorded = ours.role is Role.NONE and theirs.role is Role.NONE
    if ours.role not in serving and not unrecorded:
        raise PlanRefused(
            f"{here.host} is {ours} of share {share.name}, and not the one that serves it",
            "Make the one that does the share's server in the inventory; a share that never had a standby "
            "gets its records from provision-pack",
        )
    if (theirs.role is Role.FENCED or overtaken) and purpose != "rejoin":
        raise PlanRefused(
            f"{there.host} is {theirs} of share {share.name}: it was put out of action, or overtaken, and "
            "may have what nobody else has",
            "Run rejoin-standby, which saves that before it makes it the standby again",
        )
    if there.exports(share):
        raise PlanRefused(
            f"the standby {there.host} exports {'; '.join(there.exports(share))}",
            "Clients could write there what the next copy takes away: take its exports back (exportfs -u)",
        )


def refuse_no_source(share: Share, here: Side, there: Side, purpose: Purpose) -> None:
    """Raise PlanRefused when what would be copied is not the share: a missing source deletes nothing."""
    _refuse_no_disk(share, here, "Nothing was copied: the standby would lose what is missing here")
    for path in paths_of(share):
        if here.tree(path).kind != "directory":
            raise PlanRefused(
                f"{path}, of share {share.name}, is {here.tree(path).kind} on {here.host}",
                "Nothing was copied. Run provision-pack",
            )
    last, before = last_token(share, here), last_token(share, there)
    if before is None:
        return
    # Under a new epoch, what the old server had begun to copy came to nothing.
    behind = last is None or (purpose != "rejoin" and last.order < before.order)
    if behind:
        raise PlanRefused(
            f"what {there.host} has of share {share.name} is newer than what lies on {here.host} "
            f"({_shown(before)} there, {_shown(last)} here)",
            f"The trees of {here.host} are not those that were copied before: is its disk mounted, was it "
            "restored? Nothing was copied",
        )


def refuse_no_destination(share: Share, there: Side, purpose: Purpose) -> None:
    """Raise PlanRefused when the destination's disk is not there, or something else lies in the trees."""
    if purpose != "rejoin" or there.disk != "ro":
        # A server that was put out of action had its disk closed; it is opened before anything is copied.
        _refuse_no_disk(share, there, "Put it into /etc/fstab, too")
    for path in paths_of(share):
        tree = there.tree(path)
        if tree.kind != "directory":
            raise PlanRefused(
                f"{path}, of share {share.name}, is {tree.kind} on {there.host}", "Run provision-pack"
            )
        if tree.token is None and not tree.empty:
            raise PlanRefused(
                f"{path} on {there.host} has files, and no copy of share {share.name} was ever made there",
                "They would be taken away: see whose they are, and empty the directory",
            )


def refuse_full(share: Share, here: Side, there: Side) -> None:
    """Raise PlanRefused when what the source has more of does not fit on the destination.

    Only disks of the share's own can be compared; of others, something has to be free.
    """
    for path in paths_of(share):
        ours, theirs = here.tree(path), there.tree(path)
        more = max(0, ours.used_bytes - theirs.used_bytes) if share.disk else 0
        if theirs.free_bytes < more + SPARE_BYTES:
            raise PlanRefused(
                f"the disk of {path} on {there.host} is full: {_mib(theirs.free_bytes)} are free, and "
                f"{_mib(more + SPARE_BYTES)} are needed",
                "Make room there, or give it a bigger disk. What it had is kept",
            )
        if theirs.total_inodes and theirs.free_inodes < SPARE_INODES:
            raise PlanRefused(
                f"the disk of {path} on {there.host} is full: {theirs.free_inodes} inodes are free",
                "Make room there. What it had is kept",
            )


def _refuse_no_disk(share: Share, side: Side, meaning: str) -> None:
    if share.disk and side.disk != "rw":
        state = "mounted read-only" if side.disk else "not mounted"
        raise PlanRefused(
            f"on {side.host} the disk {share.disk} of share {share.name} is {state}",
            f"Mount it there read-write. {meaning}",
        )


def _shown(token: SyncProof | None) -> str:
    return f"copy {token.sequence} of epoch {token.epoch}" if token else "none at all"


def _mib(size: int) -> str:
    return f"{size / 1048576:.0f} MiB"
