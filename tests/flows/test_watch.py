"""How long a look at a share takes, and what it can tell apart in that time."""

from flows.watch import FIRST_SECONDS, NEXT_SECONDS, PATIENT_SECONDS, PAUSE_SECONDS
from tasks.liveness.history import TO_RAISE
from tasks.liveness.verdicts import SLOW_SECONDS

# For each sample: to log in, to start perl, and to kill what hangs.
AROUND_SECONDS = 1.0
GOAL_SECONDS = 10.0


def test_what_is_slow_is_not_taken_for_what_hangs() -> None:
    assert min(FIRST_SECONDS, NEXT_SECONDS, PATIENT_SECONDS) >= 2 * SLOW_SECONDS
    assert PATIENT_SECONDS >= 2.0


def test_a_hang_is_known_in_time() -> None:
    for later in (NEXT_SECONDS, PATIENT_SECONDS):
        waits = FIRST_SECONDS + (TO_RAISE - 1) * (later + PAUSE_SECONDS)
        assert waits + TO_RAISE * AROUND_SECONDS <= GOAL_SECONDS
