"""One job on many hosts, bare or as a flow: `python -m bench.per_host bare|flow`.

The hosts are on standard input, the answer is a line of JSON. Each measurement has a process of its own, as a
worker's runs have, which has done the same on up to sixteen of the hosts before: imports, the first threads
and the first connection to the server are not measured.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import SecretStr

from bench.contender import cpu_seconds
from bench.overhead import TASKS_PER_HOST
from flows.operation import FAN_OUT, operation
from tasks.fleet import Node
from tasks.outcome import Outcome, Outcomes
from tasks.ssh import connect, disconnect_all
from tasks.steps import fact_task, host_task, join, join_outcomes

RECORDED_SECONDS = 120.0
POLL_SECONDS = 0.1
WARM_UP = 16


def read(node: Node) -> str:
    """What a fetcher of facts does: connect, run a script, take its output."""
    return connect(node).run_script("uname -n && cat /proc/loadavg").text


def act(node: Node) -> Outcome:
    """What a step does: run a script over the connection that is there."""
    connect(node).run_script("test -d /root")
    return Outcome(node.name, "act", detail="as desired")


read_task = fact_task("read host", run_name="read host {node.name}")(read)
act_task = host_task("act", run_name="act on {node.name}")(act)


class Watcher(threading.Thread):
    """Asks the server, from `start` on, until it shows all task runs of the flow run as completed."""

    def __init__(self, run: str, tasks: int) -> None:
        super().__init__(daemon=True)
        self.tasks = tasks
        self.question = {
            "flow_runs": {"id": {"any_": [run]}},
            "task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
        }
        self.began = time.time()
        self.behind: float | None = None

    def run(self) -> None:
        with httpx.Client(base_url=os.environ["PREFECT_API_URL"], timeout=30) as api:
            while time.time() < self.began + RECORDED_SECONDS:
                if api.post("/task_runs/count", json=self.question).json() >= self.tasks:
                    self.behind = time.time() - self.began
                    return
                time.sleep(POLL_SECONDS)


class Job:
    """The hosts, and what a run on them left behind to be reported."""

    nodes: Sequence[Node] = ()
    body: float = 0.0
    watcher: Watcher | None = None


def run_bare(nodes: Sequence[Node]) -> dict[str, Any]:
    """The functions under a pool of threads as wide as a flow's."""
    started = time.time()
    with ThreadPoolExecutor(FAN_OUT) as pool:
        seen = list(pool.map(read, nodes))
        outcomes = Outcomes(tuple(pool.map(act, nodes)))
    disconnect_all()
    assert len(seen) == len(outcomes) == len(nodes)
    return {"seconds": time.time() - started}


@operation("bench-orchestration", runbook=__doc__, run_name="bench {hosts} hosts")
def everywhere(hosts: int) -> State[Outcomes]:
    """Do the job on every host.

    Args:
        hosts: How many.
    """
    started = time.time()
    seen = join(read_task.map(list(Job.nodes)))
    outcomes = join_outcomes(act_task.map(list(Job.nodes)))
    Job.body = time.time() - started
    outcomes.raise_if_failed()
    assert all(each.value for each in seen)
    Job.watcher = Watcher(str(flow_run.id), hosts * TASKS_PER_HOST)
    Job.watcher.start()
    return Completed(message="done", data=outcomes)


def run_flow(nodes: Sequence[Node]) -> dict[str, Any]:
    """The flow, until its run is Completed; and how far behind the server was with its task runs then.

    The call itself returns up to a second later, when Prefect's heartbeat thread ends: nobody waits for that.
    """
    Job.nodes = nodes
    started = time.time()
    state = everywhere(len(nodes), return_state=True)
    state.result()
    return {"seconds": state.timestamp.timestamp() - started, "body": Job.body}


def measure(run: Callable[[Sequence[Node]], dict[str, Any]], nodes: Sequence[Node]) -> dict[str, Any]:
    """What a run took, in wall and CPU seconds and in memory at its peak."""
    run(nodes[:WARM_UP])
    _wait_for_record()
    gc.collect()
    with suppress(OSError):  # an old kernel: then the peak is that of the whole life, which is this run's too
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    memory, cpu = _read_status("VmRSS"), cpu_seconds()
    answer = run(nodes)
    answer |= {"memory_kb": _read_status("VmHWM") - memory, "cpu": cpu_seconds() - cpu}
    return answer | {"behind": _wait_for_record()}


def _wait_for_record() -> float | None:
    if Job.watcher is None:
        return None
    Job.watcher.join(RECORDED_SECONDS)
    if Job.watcher.behind is None:
        raise TimeoutError(f"not all task runs are recorded after {RECORDED_SECONDS:.0f} s")
    return Job.watcher.behind


def _read_status(field: str) -> int:
    """A line of this process's status, in KB (proc(5))."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1])


def main(argv: list[str]) -> int:
    """Measure once."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever else is printed goes to the log
    hosts = json.load(sys.stdin)
    secret, keys = SecretStr(hosts["private_key"]), tuple(hosts["host_keys"])
    nodes = [
        Node(f"host{number:03}", address, "nginx", secret, keys, hosts["port"], "root")
        for number, address in enumerate(hosts["addresses"], start=1)
    ]
    answers.write(json.dumps(measure({"bare": run_bare, "flow": run_flow}[argv[0]], nodes)) + "\n")
    answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
