"""What a person sees in the UI beside the logs: plans and outcomes as tables, changes of state as events."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from prefect import get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.states import Completed

from tasks.errors import PlanRefused
from tasks.outcome import Outcome, Outcomes

EXPLAINED = 10


class Plan(Protocol):
    """What every subject's plan offers the operator."""

    def __bool__(self) -> bool: ...
    def __str__(self) -> str: ...
    def as_rows(self) -> list[dict[str, str]]: ...


def artifact_key(*words: str) -> str:
    """A stable artifact key (a-z, 0-9, -), so that the UI keeps the history of the same thing together."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")


def publish_plan(about: str, *plans: Plan) -> bool:
    """Show what is going to be done as the table `plan-<about>`; returns whether there is anything to do."""
    rows = [row for plan in plans for row in plan.as_rows()]
    work = any(bool(plan) for plan in plans)
    text = "\n\n".join(str(plan) for plan in plans)
    get_run_logger().info("plan for %s:\n%s", about, text)
    headline = "What this run is going to do." if work else "Nothing to do: everything is as desired."
    create_table_artifact(
        key=artifact_key("plan", about),
        table=_in_columns(rows),
        description=f"**Plan for {about}.** {headline}",
    )
    return work


def publish_table(kind: str, about: str, rows: Sequence[Mapping[str, str]], headline: str) -> None:
    """Show what was found as the table `<kind>-<about>`; every row has the same columns."""
    create_table_artifact(
        key=artifact_key(kind, about),
        table=[dict(row) for row in rows] or [{"result": "nothing differs"}],
        description=f"**{kind.capitalize()} of {about}.** {headline}",
    )


def publish_outcomes(about: str, outcomes: Outcomes) -> None:
    """Show what every step did on every host as the table `outcome-<about>`, failures first."""
    headline = summarise(outcomes, dry_run=is_dry_run())
    create_table_artifact(
        key=artifact_key("outcome", about),
        table=_in_columns(outcomes.as_rows()),
        description=f"**Outcome for {about}.** {headline}{explain(outcomes)}",
    )
    for outcome in outcomes.failed:
        announce(
            "host.failed", outcome.host, {"about": about, "step": outcome.step, "error": outcome.error or ""}
        )


@contextmanager
def explaining(about: str, unread: Outcomes) -> Generator[None]:
    """When the block refuses to plan, the table and the events say why each host could not be read."""
    try:
        yield
    except PlanRefused:
        if unread:
            publish_outcomes(about, unread)
        raise


def explain(outcomes: Outcomes) -> str:
    """Why it failed, in full, for above the table: there, a message of many lines is one long line."""
    shown = outcomes.failed[:EXPLAINED]
    texts = [(o, (o.error or "").strip().replace("```", "'''")) for o in shown]
    more = len(outcomes.failed) - len(shown)
    rest = f"\n\nand {more} more, which the table has" if more else ""
    return "".join(f"\n\n**{o.host}**, {o.step}:\n\n```\n{text}\n```" for o, text in texts) + rest


def is_dry_run() -> bool:
    """Whether the flow that runs was told to do nothing."""
    context = FlowRunContext.get()
    return bool(context and (context.parameters or {}).get("dry_run"))


def summarise(outcomes: Outcomes, *, dry_run: bool = False) -> str:
    """One sentence: how many hosts changed, and which failed."""
    hosts = {outcome.host for outcome in outcomes}
    changed = {outcome.host for outcome in outcomes.changed}
    if outcomes.failed:
        names = ", ".join(sorted(outcomes.failed_hosts))
        return f"FAILED on {names}; {len(hosts - outcomes.failed_hosts)} of {len(hosts)} hosts are fine."
    if dry_run and not changed:
        return "A dry run: nothing was touched. What would be done is in the plan."
    if not changed:
        return f"Nothing changed: {len(hosts)} of {len(hosts)} hosts are as desired."
    return f"{len(outcomes.changed)} steps changed something on {len(changed)} of {len(hosts)} hosts."


def conclude(about: str, outcomes: Outcomes) -> State[Outcomes]:
    """Publish the outcomes; return the flow's final state, or raise HostsFailed with all of them."""
    publish_outcomes(about, outcomes)
    outcomes.raise_if_failed()
    return Completed(message=summarise(outcomes, dry_run=is_dry_run()), data=outcomes)


def announce(event: str, name: str, payload: Mapping[str, str] | None = None) -> None:
    """Emit `packmaster.<event>` about the thing called `name`, for automations and other systems."""
    kind = event.split(".", maxsplit=1)[0]
    emit_event(
        event=f"packmaster.{event}",
        resource={"prefect.resource.id": f"packmaster.{kind}.{name}", "prefect.resource.name": name},
        payload=dict(payload or {}),
    )


def failures_of(step: str, errors: Mapping[str, str]) -> Outcomes:
    """Hosts that failed before they could be planned for, as outcomes of `step`."""
    return Outcomes(tuple(Outcome(host, step, error=error) for host, error in sorted(errors.items())))


def _in_columns(rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Rows that the UI can show as one table: it takes the columns from the first row alone.

    Where plans of several subjects come together, what they do not share goes into one column of details.
    """
    if len({tuple(row) for row in rows}) > 1:
        return [_summarised(row) for row in rows]
    return [dict(row) for row in rows] or [{"result": "nothing to do"}]


def _summarised(row: Mapping[str, str]) -> dict[str, str]:
    left = dict(row)
    host, site = left.pop("host", ""), left.pop("site", "")
    step = left.pop("step", "") or left.pop("action", "")
    sql = left.pop("sql", "")
    said = (value if name == "detail" else f"{name}: {value}" for name, value in left.items() if value)
    return {"where": " ".join(filter(None, (host, site))), "step": step, "detail": sql or "; ".join(said)}
