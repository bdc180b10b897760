"""Prefect tasks on hosts: retried by error type, joined without raising, one log line each.

A failed host's task run is red in the UI and its Outcome (or Gathered) still reaches the flow: the task
returns a Failed state that carries the value, and `join` collects values whatever their state. Retries first:
until the last attempt an Unreachable escapes to Prefect, which tries again with backoff and jitter.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar, cast

from prefect import Task, get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.futures import PrefectFuture
from prefect.states import Failed
from prefect.tasks import exponential_backoff

from tasks.errors import PackmasterError, Unreachable
from tasks.outcome import Outcome, Outcomes

P = ParamSpec("P")
T = TypeVar("T")

RETRIES = 2
BACKOFF_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Gathered(Generic[T]):
    """What was read from one host, or why it could not be read."""

    host: str
    value: T | None = None
    error: str | None = None

    def as_outcome(self, step: str) -> Outcome:
        """The failure to read, as an Outcome of `step`."""
        return Outcome(self.host, step, error=self.error)


def host_task(
    name: str, *, run_name: str, retries: int = RETRIES
) -> Callable[[Callable[P, Outcome]], Task[P, Outcome]]:
    """Make a Prefect task of a function that does one step on one host and returns its Outcome.

    The function's first argument is the Node (or the host's name) that the Outcome is about. `run_name` is
    a format string over the arguments: what the operator reads on the UI's time line. `seconds` is filled in.
    """

    def decorate(function: Callable[P, Outcome]) -> Task[P, Outcome]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> Outcome | State[Outcome]:
            host, started = _host_of(args, kwargs), time.monotonic()
            try:
                outcome = function(*args, **kwargs)
            except PackmasterError as failure:
                _leave_to_retry(failure, retries, f"{host}: {name}")
                outcome = Outcome(host, name, error=str(failure))
            outcome = replace(outcome, seconds=time.monotonic() - started)
            if not outcome.ok:
                return cast("State[Outcome]", Failed(message=str(outcome), data=outcome))
            get_run_logger().info("%s", outcome)
            return outcome

        return cast("Task[P, Outcome]", _as_task(run, name, run_name, retries))

    return decorate


def fact_task(
    name: str, *, run_name: str, retries: int = RETRIES
) -> Callable[[Callable[P, T]], Task[P, Gathered[T]]]:
    """Make a Prefect task of a function that reads something from one host, as Gathered.

    The function's first argument is the Node (or the host's name) that is read.
    """

    def decorate(function: Callable[P, T]) -> Task[P, Gathered[T]]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> Gathered[T] | State[Gathered[T]]:
            host = _host_of(args, kwargs)
            try:
                return Gathered(host, function(*args, **kwargs))
            except PackmasterError as failure:
                _leave_to_retry(failure, retries, f"{host}: {name}")
                return cast(
                    "State[Gathered[T]]",
                    Failed(message=f"{host}: {name}: {failure}", data=Gathered(host, error=str(failure))),
                )

        return cast("Task[P, Gathered[T]]", _as_task(run, name, run_name, retries))

    return decorate


def join(futures: Iterable[PrefectFuture[T]]) -> tuple[T, ...]:
    """Wait for every future and return their values in order, failed ones included; never raises for a host.

    A task that ended without a value (it was cancelled, or it has a bug) raises what it raised.
    """
    values = []
    for future in futures:
        value: Any = future.result(raise_on_failure=False)
        if isinstance(value, BaseException):
            raise value
        values.append(value)
    return tuple(values)


def join_outcomes(futures: Iterable[PrefectFuture[Outcome]]) -> Outcomes:
    """Wait for every host's Outcome."""
    return Outcomes(join(futures))


def _says_more(record: logging.LogRecord) -> bool:
    """Whether it says more than that a task has completed, as its state does: half of all lines did not."""
    return record.getMessage() != "Finished in state Completed()"


logging.getLogger("prefect.task_runs").addFilter(_says_more)


def _leave_to_retry(failure: PackmasterError, retries: int, where: str) -> None:
    """Re-raise what another attempt may help; return when the failure is final."""
    if isinstance(failure, Unreachable) and not _is_last_attempt(retries):
        get_run_logger().warning("%s: %s; it will be tried again", where, failure)
        raise failure


def _is_last_attempt(retries: int) -> bool:
    context = TaskRunContext.get()
    return context is None or context.task_run.run_count > retries


async def _is_retryable(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    try:
        await state.aresult(raise_on_failure=True)
    except Unreachable:
        return True
    except Exception:  # whatever else it was, another attempt cannot help; the failure itself is in the state
        return False
    return False


def _as_task(run: Callable[..., Any], name: str, run_name: str, retries: int) -> Task[..., Any]:
    return Task(
        fn=run,
        name=name,
        task_run_name=run_name,
        retries=retries,
        retry_delay_seconds=exponential_backoff(BACKOFF_SECONDS),
        retry_jitter_factor=0.5,
        retry_condition_fn=_is_retryable,
        cache_policy=NO_CACHE,
        persist_result=False,
    )


def _host_of(args: tuple[object, ...], kwargs: dict[str, Any]) -> str:
    first = args[0] if args else next(iter(kwargs.values()), "controller")
    return first if isinstance(first, str) else str(getattr(first, "name", "controller"))
