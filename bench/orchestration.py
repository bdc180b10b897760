"""What Prefect costs us: `python -m bench.orchestration`. The same job on many hosts, bare and as a flow."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import click

from bench.bed import HOME, ROOT
from bench.contender import Failed
from bench.loopback import Hosts
from bench.overhead import TASKS_PER_HOST, Run, as_records, render, weigh
from bench.report import describe_machine, today
from bench.server import Server

RESULTS = HOME / "results"
RUN_SECONDS = 300


def say(line: str) -> None:
    """Tell the person at the terminal, at once."""
    click.echo(line, err=True)


@click.command()
@click.option("--hosts", default="4,16,64,256", show_default=True, help="How many, separated by commas.")
@click.option("--rounds", default=3, type=click.IntRange(1, 20), show_default=True)
def main(*, hosts: str, rounds: int) -> None:
    """Measure what a task run costs on so many hosts. Prints the table."""
    sizes = sorted({int(word) for word in hosts.split(",")})
    if not 1 <= sizes[0] <= sizes[-1] <= 1000:
        raise click.UsageError("between 1 and 1000 hosts")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    fleet, server = Hosts(), Server()
    try:
        say(f"starting sshd on {sizes[-1]} loopback addresses, and a Prefect server")
        fleet.start(sizes[-1])
        server.start()
        runs = measure(fleet, server, sizes, rounds)
    finally:
        server.stop()
        fleet.stop()
    click.echo(publish(runs, rounds))


def measure(fleet: Hosts, server: Server, sizes: Sequence[int], rounds: int) -> list[Run]:
    """All runs: the two ways take turns, so that what slows the machine down slows both down."""
    runs = []
    for number in range(1, rounds + 1):
        for size in sizes:
            for way in ("bare", "flow") if number % 2 else ("flow", "bare"):
                answer = ask(way, fleet, server, size)
                memory = server.memory_mb() if way == "flow" else 0.0
                runs.append(Run(size, size * TASKS_PER_HOST, **answer, server_mb=memory))
                say(f"round {number}: {size} hosts, {way}: {answer['seconds']:.2f} s")
    return runs


def ask(way: str, fleet: Hosts, server: Server, size: int) -> dict[str, Any]:
    """Measure one run in a process of its own; raises Failed."""
    nodes = fleet.nodes[:size]
    hosts = {
        "addresses": [node.address for node in nodes],
        "port": nodes[0].port,
        "host_keys": nodes[0].host_keys,
        "private_key": (fleet.folder / "id_ed25519").read_text(encoding="ascii"),
    }
    log = HOME / "orchestration.log"
    with log.open("ab") as errors:
        done = subprocess.run(
            [sys.executable, "-m", "bench.per_host", way],
            input=json.dumps(hosts).encode(), stdout=subprocess.PIPE, stderr=errors, cwd=ROOT,
            env=server.environment() | {"PYTHONPATH": str(ROOT)}, timeout=RUN_SECONDS, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        raise Failed(f"{way} on {size} hosts ended with {done.returncode}; see {log}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return {name: value for name, value in answer.items() if value is not None}


def publish(runs: Sequence[Run], rounds: int) -> str:
    """Write the results; returns the Markdown."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    head = f"{today()}, {rounds} round(s), {describe_machine()}"
    text = f"{head}\n\n{render(weigh(runs))}"
    (RESULTS / "orchestration.md").write_text(text, encoding="utf-8")
    records = json.dumps(as_records(runs), indent=1)
    (RESULTS / "orchestration.json").write_text(records, encoding="utf-8")
    return text


if __name__ == "__main__":
    main()
