"""What every flow of ours has in common: its runbook, its width, and errors that an operator can read."""

from __future__ import annotations

import gc
import inspect
import re
from collections.abc import Callable
from functools import cache, wraps
from inspect import get_annotations, signature
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Flow, flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.flows import FlowStateHook
from prefect.settings import get_current_settings
from prefect.states import Failed
from prefect.task_runners import ThreadPoolTaskRunner

from flows.overview import refresh_quietly
from tasks.errors import HostsFailed, PackmasterError
from tasks.outcome import Outcomes
from tasks.ssh import disconnect_all

P = ParamSpec("P")
R = TypeVar("R")

# Threads that wait for hosts; more hosts than this are worked on in turn.
FAN_OUT = 32
KINDS = {"null": "Leave empty", "integer": "Number", "array": "List", "string": "Text"}
ABBREVIATIONS = frozenset({"gid", "uid", "uri"})


def operation(
    name: str, *, runbook: str | None, run_name: str | Callable[[], str], overview: bool = True
) -> Callable[[Callable[P, State[R]]], Flow[P, State[R]]]:
    """Make a flow of a function that an operator triggers.

    `runbook` is the module's docstring; the UI shows it as the description. An error of ours ends the run as
    Failed with its message, which says what to do next, and without a traceback, which does not. With
    `overview`, that page is made anew after a run that changed or failed something; the run has ended then.
    """
    afterwards: list[FlowStateHook[..., Any]] = [keep_overview] if overview else []

    def decorate(function: Callable[P, State[R]]) -> Flow[P, State[R]]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> State[R]:
            freeze_imports()
            try:
                return function(*args, **kwargs)
            except PackmasterError as failure:
                get_run_logger().error("%s", failure)
                return cast("State[R]", Failed(message=str(failure), data=failure))
            finally:
                disconnect_all()

        # Prefect looks annotations up where it finds the wrapper, and the wrapper is defined here.
        run.__annotations__ = get_annotations(function, eval_str=True)
        run.__signature__ = signature(function, eval_str=True)  # type: ignore[attr-defined]  # PEP 362
        made = flow(
            name=name,
            description=render_runbook(runbook),
            flow_run_name=run_name,
            task_runner=ThreadPoolTaskRunner(max_workers=FAN_OUT),  # type: ignore[arg-type]  # invariant
            # What a run found is in its tables. Unless both are said, Prefect asks the server for them.
            persist_result=False,
            result_storage=get_current_settings().results.local_storage_path,
            on_completion=afterwards,
            on_failure=afterwards,
        )
        return title_fields(cast("Flow[P, State[R]]", made(run)))

    return decorate


def keep_overview(flow: object, flow_run: object, state: State) -> None:
    """The overview is made anew after a run that changed or failed something (a hook of Prefect's)."""
    del flow, flow_run
    ended = state.result(raise_on_failure=False)
    outcomes = ended.outcomes if isinstance(ended, HostsFailed) else ended
    if isinstance(outcomes, Outcomes) and (outcomes.changed or outcomes.failed):
        refresh_quietly()


@cache
def freeze_imports() -> None:
    """What a process has in memory before its first run is not walked for cycles any more.

    That is mostly what was imported, half a million objects: 0.15 s each time, in which a run stands still.
    """
    gc.freeze()


def render_runbook(runbook: str | None) -> str:
    """The runbook as markdown, each of its parts a paragraph: the UI would make one of all of them."""
    return re.sub(
        r"^([A-Z0-9][^:?\n]{0,20}[:?])", r"\n**\1**", inspect.cleandoc(runbook or ""), flags=re.MULTILINE
    )


def title_fields(made: Flow[P, State[R]]) -> Flow[P, State[R]]:
    """The form calls the fields as people do: `keep_releases` is "Keep releases", `uid` is "UID".

    Where a field may be left empty, the UI shows one tab for each kind of value; they are named alike.
    """
    for name, field in made.parameters.properties.items():
        words = name.replace("_", " ")
        field["title"] = words.upper() if name in ABBREVIATIONS else words[0].upper() + words[1:]
        for kind in field.get("anyOf", ()):
            if kind.get("type") in KINDS:
                kind["title"] = KINDS[kind["type"]]
    return made
