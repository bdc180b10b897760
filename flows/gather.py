"""The first step of every flow: what was read, by host, and what could not be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from prefect.futures import PrefectFuture

from tasks.outcome import Outcomes
from tasks.steps import Gathered, join

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Facts(Generic[T]):
    """The facts of a fan-out: `seen` by host, and the Outcomes of the hosts that gave none."""

    seen: dict[str, T]
    unread: Outcomes

    @property
    def missing(self) -> tuple[str, ...]:
        """The hosts that could not be read."""
        return tuple(outcome.host for outcome in self.unread)


def gather(step: str, futures: Iterable[PrefectFuture[Gathered[T]]]) -> Facts[T]:
    """Wait for every host; a host that could not be read is a failed Outcome of `step`."""
    answers = join(futures)
    seen = {answer.host: answer.value for answer in answers if answer.value is not None}
    return Facts(seen, Outcomes(tuple(a.as_outcome(step) for a in answers if a.error is not None)))
