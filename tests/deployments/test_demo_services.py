"""What the demo started ends with it."""

from __future__ import annotations

import signal
import subprocess
import time

from deployments.demo_services import find_children, stop_group


def test_a_worker_is_stopped_with_the_runs_it_is_at() -> None:
    """Each of them is a session of its own, which a signal to the worker's group does not reach."""
    worker = subprocess.Popen(["sh", "-c", "setsid sleep 60 & sleep 60"], start_new_session=True)
    ends = time.monotonic() + 10
    while len(children := find_children(worker.pid)) < 2 and time.monotonic() < ends:
        time.sleep(0.05)
    assert len(children) == 2
    for group in (worker.pid, *children):
        stop_group(group)
    assert worker.wait(timeout=5) == -signal.SIGTERM
    assert find_children(worker.pid) == []
    for child in children:
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(child)], capture_output=True, text=True, check=False
        )
        # One that has ended may wait for a PID 1 that does not care for it.
        assert state.stdout[:1] in {"", "Z"}
