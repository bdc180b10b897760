"""Errors reach the flow from a task run, maybe from another process, as they were raised."""

import pickle

import cloudpickle
import pytest

from tasks.errors import (
    AccessDenied,
    CommandFailed,
    Drift,
    HostsFailed,
    PackmasterError,
    PlanRefused,
    Unreachable,
)
from tasks.outcome import Outcome, Outcomes
from tasks.result import Result

RESULT = Result("web1", ("nginx", "-t"), 1, b"", b"nginx: [emerg] unknown directive\n", 0.25)
ERRORS = [
    PackmasterError("something"),
    Unreachable("web1", "connection refused"),
    AccessDenied("web1", "its host key changed", "Compare it"),
    CommandFailed(RESULT, "the configuration test failed"),
    CommandFailed(RESULT),
    PlanRefused("the source is empty", "Give another"),
    PlanRefused("the source is empty"),
    HostsFailed(Outcomes((Outcome("web1", "stage", error="disk full"), Outcome("web2", "stage")))),
    Drift("web1 differs"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("pickler", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
def test_an_error_survives_pickling(error: PackmasterError, pickler: object) -> None:
    again = pickle.loads(getattr(pickler, "dumps")(error))  # noqa: B009 - both have it, their types do not say so
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_one_root_catches_them_all(error: PackmasterError) -> None:
    assert isinstance(error, PackmasterError)
    assert isinstance(error, Unreachable) == (type(error) is Unreachable)


def test_messages_say_what_where_and_what_to_do() -> None:
    assert str(Unreachable("web1", "refused")) == "web1 cannot be reached: refused"
    assert str(AccessDenied("web1", "wrong key", "Compare it.")) == "web1: wrong key. Compare it."
    assert str(PlanRefused("it is empty", "Give another")) == "it is empty. Give another"
    assert str(PlanRefused("it is empty")) == "it is empty"


def test_a_failed_command_shows_host_command_status_and_its_last_words() -> None:
    text = str(CommandFailed(RESULT, "the configuration test failed"))
    assert text.startswith("the configuration test failed: on web1, `nginx -t` exited with 1 after 0.2 s")
    assert "unknown directive" in text


def test_failed_hosts_are_counted_once_and_all_their_steps_named() -> None:
    outcomes = Outcomes(
        (
            Outcome("web1", "stage", error="disk full"),
            Outcome("web1", "clean", error="disk full"),
            Outcome("web2", "stage"),
        )
    )
    text = str(HostsFailed(outcomes))
    assert text.splitlines() == ["1 host(s) failed:", "  web1: stage: disk full", "  web1: clean: disk full"]


def test_a_host_whose_command_failed_says_in_its_line_what_the_command_said() -> None:
    failed = str(CommandFailed(RESULT, "cannot reload"))
    assert "\n" in failed
    (_, line) = str(HostsFailed(Outcomes((Outcome("web1", "reload", error=failed),)))).splitlines()
    assert line.startswith("  web1: reload: cannot reload: on web1, `nginx -t` exited with 1")
    assert line.endswith(failed.splitlines()[-1].strip())
