"""A person's word before something that may hurt, given in the UI or through the API; the wait is bounded."""

from __future__ import annotations

from typing import Literal

from prefect import get_run_logger, pause_flow_run
from prefect.exceptions import FlowPauseTimeout
from prefect.input import RunInput

from tasks.errors import PlanRefused

POLL_SECONDS = 1


class FailoverApproval(RunInput):
    """The form: `approve`, and the name of a server that somebody has put out of action by hand."""

    approve: Literal["no", "yes"] = "no"
    fenced_by_hand: str = ""


def ask_approval(about: str, text: str, seconds: int) -> FailoverApproval:
    """Wait for a person who has read `text`; raises PlanRefused when they say no, or nothing in time."""
    form = FailoverApproval.with_initial_data(description=f"**{about}**\n\n```\n{text}\n```")
    get_run_logger().warning("waiting up to %d s for approval: %s", seconds, about)
    try:
        answer = pause_flow_run(
            wait_for_input=form, timeout=seconds, poll_interval=POLL_SECONDS, key="approve"
        )
    except FlowPauseTimeout:
        raise PlanRefused(
            f"nobody approved within {seconds} s: {about}", "Nothing was touched. Run it again"
        ) from None
    if answer.approve != "yes":
        raise PlanRefused(f"it was not approved: {about}", "Nothing was touched")
    return answer
