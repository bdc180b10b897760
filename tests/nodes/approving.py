"""A flow that waits for a person's word as failover-share does, without the servers that one needs."""

from __future__ import annotations

from prefect import flow

from flows.approval import ask_approval

ABOUT = "failover of share films to nfs2"
TEXT = "nfs1: switch off, and see that it is off\nnfs2: take the share over, epoch 4\nweb1: mount from nfs2"


@flow(name="approving", flow_run_name="failover films")
def approving(seconds: int) -> str:
    """Ask, and end with what was answered.

    Args:
        seconds: How long approval is waited for.
    """
    answer = ask_approval(ABOUT, TEXT, seconds)
    return f"{answer.approve} {answer.fenced_by_hand}".strip()
