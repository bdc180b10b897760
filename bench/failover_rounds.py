"""The rounds of the failover benchmark, in a process that speaks to its Prefect server.

In each, the NFS server's cable is pulled, so that it is silent and has to be fenced, and failover-share runs
without a person. Its clock begins where a person's approval would end: it looks at what is so, and goes on.
Beside it stand the waits that remain if nothing is checked, noted or asked: three samples of a server that is
silent; to switch it off and hear that it is; grace, which ends at once where no client has anything to
reclaim; and what a person would type on each node, on all at once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from pydantic import SecretStr

from bench.failover import HOME, NET, NODES, PROJECT, run_nodes
from bench.report import describe_machine, today
from blocks import NfsServer, Pack, Share, SshCredentials, WebServer
from flows.failover_share import failover_share
from flows.provision_pack import provision_pack
from flows.publish import artifact_key
from flows.rejoin_standby import rejoin_standby
from flows.sync_standby import sync_standby
from flows.watch import FIRST_SECONDS, NEXT_SECONDS, PAUSE_SECONDS
from tasks.fencing.methods import NULL_SECONDS
from tasks.fleet import Node
from tasks.liveness.history import TO_RAISE
from tasks.outcome import Outcomes
from tasks.ssh import connect, disconnect_all

SHARE, SERVERS = "bench-files", {"nfs1": 61, "nfs2": 62}
DETECTION = FIRST_SECONDS + (TO_RAISE - 1) * (NEXT_SECONDS + PAUSE_SECONDS)
HEAD = """\
| clients | detection | fencing | grace | remount | these waits | first node serves | last node serves |
|---:|---:|---:|---:|---:|---:|---:|---:|"""
BY_HAND = """
for unit in /etc/init.d/php*-fpm; do systemctl stop "${unit##*/}"; done
for point in /var/aegir/platforms /var/aegir/sites; do umount "$point"; mount "$point"; done
for unit in /etc/init.d/php*-fpm; do systemctl start "${unit##*/}"; done
"""


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds: the waits that nobody can do without, and when our first and last node served again."""

    fencing: float
    remount: float
    first: float
    last: float

    @property
    def waits(self) -> float:
        return DETECTION + self.fencing + self.remount


def register() -> None:
    """The machines and the share as blocks."""
    key = SecretStr((HOME / "id_ed25519").read_text(encoding="ascii"))
    lines = [line.split() for line in (HOME / "known_hosts").read_text(encoding="ascii").splitlines()]
    keys = {names.split(",")[0]: f"{kind} {blob}" for names, kind, blob in lines}
    SshCredentials(private_key=key).save("bench", overwrite=True)
    login = SshCredentials.load("bench")
    for name, octet in SERVERS.items():
        NfsServer(
            address=f"{NET}.{octet}",
            credentials=login,
            host_keys=[keys[name]],
            fence_command=["docker", "kill", f"{PROJECT}-{name}"],
            fence_check=["docker", "inspect", "-f", "{{.State.Running}}", f"{PROJECT}-{name}"],
            fence_off="false",
        ).save(name, overwrite=True)
    for octet, name in enumerate((name for name in NODES if name in keys), start=71):
        nginx = name.startswith("slave") and int(name[-1]) % 2 == 0
        WebServer(
            address=f"{NET}.{octet}",
            kind="nginx" if nginx else "apache",
            credentials=login,
            host_keys=[keys[name]],
        ).save(name, overwrite=True)
    share = Share(server=NfsServer.load("nfs1"), standby=NfsServer.load("nfs2"), automatic_failover=True)
    share.save(SHARE, overwrite=True)


def provision(clients: int) -> tuple[Node, ...]:
    """The pack has so many nodes, and works; gives them."""
    share = Share.get(SHARE, "the benchmark")
    pack = Pack(master=WebServer.load(NODES[0]), slaves=list(NODES[1:clients]), share=share)
    pack.save(SHARE, overwrite=True)
    must(provision_pack(pack=Pack.get(SHARE, "the benchmark"), return_state=True))
    return Pack.get(SHARE, "the benchmark").resolve().nodes


def must(state: Any) -> Outcomes:
    """What a run did; ends the benchmark when it failed."""
    if not state.is_completed():
        sys.exit(f"{state.name}: {state.message}")
    found: Outcomes = state.result()
    return found


def run_round(nodes: Sequence[Node]) -> Round:
    """One failover, and all as it was, with the servers' parts exchanged."""
    must(sync_standby(share=Share.get(SHARE, "the benchmark"), return_state=True))
    server = Share.get(SHARE, "the benchmark").server.name
    docker("exec", server, "ip", "link", "set", "tap0", "nomaster")
    began = time.time()
    must(failover_share(share=Share.get(SHARE, "the benchmark"), automatic=True, return_state=True))
    served = when_served([node.name for node in nodes], began)
    first, last = min(served), max(served)
    docker("start", server)
    run_nodes("wait", server)
    fencing = docker("kill", server) + docker("inspect", server) + NULL_SECONDS
    docker("start", server)
    run_nodes("wait", server)
    remount = plain_remount(nodes)
    must(rejoin_standby(share=Share.get(SHARE, "the benchmark"), return_state=True))
    return Round(fencing, remount, first, last)


def when_served(names: Sequence[str], began: float) -> list[float]:
    """How many seconds after `began` each of the nodes served again, as the run's time line says."""
    key = ArtifactCollectionFilterKey(any_=[artifact_key("timeline", SHARE)])
    with get_client(sync_client=True) as client:
        (kept,) = client.read_latest_artifacts(artifact_filter=ArtifactCollectionFilter(key=key))
    found = []
    for row in json.loads(str(kept.data)):
        if any(row["what"].startswith(f"{name}: works from ") for name in names):
            hours, minutes, seconds = map(float, row["at"].split(":"))
            # The table has times of a day, and a round may see midnight.
            found.append((hours * 3600 + minutes * 60 + seconds - began) % 86400)
    if len(found) != len(names):
        sys.exit(f"the time line has {len(found)} of {len(names)} nodes")
    return found


def plain_remount(nodes: Sequence[Node]) -> float:
    """How long the slowest of the nodes needs for what a person would type there, all at once."""

    def remount(node: Node) -> None:
        connect(node.as_admin()).run_script(BY_HAND, timeout=300)

    with ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(lambda node: connect(node.as_admin()).run(["true"]), nodes))
        began = time.monotonic()
        list(pool.map(remount, nodes))
        took = time.monotonic() - began
    disconnect_all()
    return took


def docker(verb: str, machine: str, *argv: str) -> float:
    """Run a Docker command on a machine's container; how long that took."""
    began = time.monotonic()
    command = ["docker", verb, f"{PROJECT}-{machine}", *argv]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    return time.monotonic() - began


def describe(rounds: Sequence[Round], clients: int) -> str:
    """A row of medians, with how many times the unavoidable waits ours are."""
    fencing, remount, first, last, waits = (
        median(getattr(one, name) for one in rounds)
        for name in ("fencing", "remount", "first", "last", "waits")
    )
    return (
        f"| {clients} | {DETECTION:.1f} | {fencing:.1f} | 0 | {remount:.1f} | {waits:.1f} "
        f"| {first:.1f} ({first / waits:.2f}) | {last:.1f} ({last / waits:.2f}) |"
    )


def main() -> None:
    count, *sizes = map(int, sys.argv[1:])
    register()
    rows = []
    for clients in sizes:
        nodes = provision(clients)
        rounds = []
        for _ in range(count):
            rounds.append(run_round(nodes))
            print(clients, rounds[-1], file=sys.stderr, flush=True)
        rows.append(describe(rounds, clients))
    print(f"{today()}, medians of {count} rounds, seconds (times the waits). {describe_machine()}.\n")
    print(HEAD)
    print("\n".join(rows))


if __name__ == "__main__":
    main()
