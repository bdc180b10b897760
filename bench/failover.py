"""How long nodes are not served after a failover was decided, beside the waits that nobody can do without."""

from __future__ import annotations

import os
import subprocess
import sys

import click

from bench import bed as beds
from bench.server import Server

HOME = beds.HOME / "failover"
PROJECT = "packmaster-bench-failover"
NET = os.environ.get("PACKMASTER_BENCH_FAILOVER_NET", "10.213.37")
SERVERS = ("nfs1", "nfs2")
NODES = ("master1", *(f"slave{number}" for number in range(1, 8)))


@click.command()
@click.option("--clients", default="3,8", show_default=True, help="How many, separated by commas; 8 at most.")
@click.option("--rounds", default=3, type=click.IntRange(min=1), show_default=True)
@click.option("--keep", is_flag=True, help="Leave the machines running.")
def main(*, clients: str, rounds: int, keep: bool) -> None:
    """Measure failovers of a share, on machines with kernels of their own. Prints the table."""
    sizes = sorted({int(word) for word in clients.split(",")})
    if not 2 <= min(sizes) <= max(sizes) <= len(NODES):
        raise click.BadParameter(f"2 to {len(NODES)} clients, not {clients}")
    HOME.mkdir(parents=True, exist_ok=True)
    server = Server()
    try:
        run_nodes("up", *SERVERS, *NODES[: max(sizes)])
        server.start()
        # A process of its own: Prefect reads whom to speak to when it is imported.
        command = [sys.executable, "-m", "bench.failover_rounds", str(rounds), *map(str, sizes)]
        environment = {**os.environ, **server.environment(), "PACKMASTER_HOME": str(HOME / "home")}
        done = subprocess.run(command, cwd=beds.ROOT, env=environment, check=False)
    finally:
        server.stop()
        if not keep:
            run_nodes("down")
    sys.exit(done.returncode)


def run_nodes(*argv: str) -> None:
    """Call docker/nodes on this benchmark's bed; raises CalledProcessError."""
    beds.run_nodes(*argv, project=PROJECT, net=NET, state=HOME)


if __name__ == "__main__":
    main()
