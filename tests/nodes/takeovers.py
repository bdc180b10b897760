"""What happens to a failover or switch in the tests: it is killed, approved of, and read afterwards."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flows.failover_share import failover_share
from flows.rejoin_standby import rejoin_standby
from flows.sync_standby import sync_standby
from tests.nodes.children import KILLED, running
from tests.nodes.failing import SHARE, Failing
from tests.nodes.fleet import succeed, wait_until

# Without a person nothing is done while machines are too busy to say in a second what they see.
IN_DOUBT, TRIES = "not known to be gone", 5


def kill_at(failing: Failing, moment: str, flow: str = "failover_share") -> None:
    """The controller dies when it comes to that function; never do two servers export."""
    words = {"automatic": True} if flow == "failover_share" else {}
    for _ in range(TRIES):
        with running(flow, dies_at=moment, share=failing.share, **words) as child:
            said = child.wait(180)
        if IN_DOUBT not in said:
            break
    assert child.process.exitcode == KILLED, (moment, said[-3000:])
    failing.release_locks()
    failing.one_writable()


def without_a_person(failing: Failing) -> Any:
    """The state of a failover that asks nobody."""
    for _ in range(TRIES):
        state = failover_share(share=failing.share, automatic=True, return_state=True)
        if IN_DOUBT not in str(state.message):
            break
    return state


@contextmanager
def approving(failing: Failing, **answer: str) -> Iterator[None]:
    """Somebody approves as in the UI, through the API, when they are asked."""
    body = {"run_input": {"approve": "yes", **answer}}
    wanted = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}}

    def resume() -> bool:
        runs = failing.fleet.api.post("/flow_runs/filter", json=wanted).json()
        answers = [failing.fleet.api.post(f"/flow_runs/{run['id']}/resume", json=body) for run in runs]
        return any(one.is_success and one.json()["status"] == "ACCEPT" for one in answers)

    person = threading.Thread(target=wait_until, args=(resume, 240))
    person.start()
    try:
        yield
    finally:
        person.join()


def time_line(failing: Failing, *nodes: str) -> None:
    """It says of each node when it served again."""
    lines = failing.fleet.lines(f"timeline-{SHARE}")
    print("\n".join(lines))
    for name in nodes:
        assert [line for line in lines if f" {name}: works from " in line], lines


def become_two(failing: Failing) -> tuple[str, str]:
    """The share's server, and its standby, which has a copy."""
    share = failing.share
    server, standby = share.server.name, share.standby.name
    if not failing.role(standby).endswith("standby"):
        succeed(rejoin_standby, share=share)
    succeed(sync_standby, share=share)
    return server, standby
