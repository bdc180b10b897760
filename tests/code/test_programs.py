"""Programs one after the other: what they hand on, how they end, and that nothing is left of them."""

import os
import signal
import time
from pathlib import Path

import pytest

from tasks.code.programs import Program, deadline_for, run_together
from tasks.errors import Unreachable


def sh(script: str) -> list[str]:
    return ["sh", "-c", script]


def is_alive(state: Path) -> bool:
    try:
        return state.read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def nothing() -> int:
    return os.open("/dev/null", os.O_RDONLY)


def test_each_reads_what_the_one_before_it_printed(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("one two")
    told: list[bytes] = []
    with (tmp_path / "in").open("rb") as file:
        first, last = run_together(
            [Program(sh("cat; echo three >&2"), on_error=told.append), Program(sh("tr a-z A-Z; exit 4"))],
            stdin=file.fileno(),
            seconds=20,
            host="w1",
        )
    assert (first.status, first.printed, first.said) == (0, b"", b"three\n")
    assert (last.status, last.printed, last.said) == (4, b"ONE TWO", b"")
    assert told == [b"three\n"]


def test_who_has_lost_its_reader_ends_and_does_not_wait(nothing: int) -> None:
    first, last = run_together(
        [Program(["yes"]), Program(sh("head -c 10 >/dev/null; exit 3"))],
        stdin=nothing, seconds=20, host="w1",
    )  # fmt: skip
    assert (first.status, last.status) == (-signal.SIGPIPE, 3)


def test_what_takes_too_long_is_killed_with_all_that_it_started(nothing: int, tmp_path: Path) -> None:
    began, pid = time.monotonic(), tmp_path / "pid"
    script = f"sleep 60 & echo $! >{pid}; wait"
    with pytest.raises(Unreachable, match="w1 cannot be reached: the transfer did not finish in 1 s"):
        run_together([Program(sh(script)), Program(["cat"])], stdin=nothing, seconds=1, host="w1")
    assert time.monotonic() - began < 15
    state, ends = Path(f"/proc/{pid.read_text().strip()}/stat"), time.monotonic() + 20
    while is_alive(state):
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_the_bound_grows_with_what_is_sent() -> None:
    assert deadline_for(0) == 600
    assert deadline_for(256 * 1024 * 60) == 660
