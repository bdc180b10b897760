"""Eight nodes of the benchmark's own, and what it takes to log in to them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import SecretStr

from bench import disk
from bench.tree import NODE_DIGEST
from tasks.fleet import Node
from tasks.servers import prepare
from tasks.ssh import connect, disconnect_all

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".packmaster" / "bench"
PROJECT = "packmaster-bench"
NET = os.environ.get("PACKMASTER_BENCH_NET", "10.213.35")
STATE = HOME / "bed"
DISK = STATE / "disk"
NODES_KNOWN = 8
BED_SECONDS = 900
NODE_SECONDS = 300.0
# Where contenders that have no layout of their own put the code.
DESTINATION = "/srv/bench"
# Version 1 counts nanoseconds, version 2 microseconds.
NODE_CPU = """
if [ -r /sys/fs/cgroup/cpuacct/cpuacct.usage ]; then
    awk '{ print $1 / 1e9 }' /sys/fs/cgroup/cpuacct/cpuacct.usage
else
    awk '$1 == "usage_usec" { print $2 / 1e6 }' /sys/fs/cgroup/cpu.stat
fi
"""

# The spare copy of what is current is made by the node itself, some seconds after a switch.
SPARE = """
cd "$1/releases"
for _ in $(seq 600); do
    [ ! -d ".spare-$(basename "$(readlink ../current)")" ] || exit 0
    sleep 0.1
done
exit 1
"""


@dataclass(frozen=True, slots=True)
class Bed:
    """The nodes that are up; `nodes` log in as the platform user, their admin login is root."""

    nodes: tuple[Node, ...]
    private_key: Path
    known_hosts: Path

    @property
    def ssh_options(self) -> tuple[str, ...]:
        """What OpenSSH needs to log in, with the host keys checked."""
        return (
            *("-F", "none", "-i", str(self.private_key)),
            *("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"),
            *("-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={self.known_hosts}"),
        )

    @property
    def ssh_command(self) -> str:
        """The same as one word for rsync's `-e`; no part of it has spaces."""
        return " ".join(("ssh", *self.ssh_options))

    def run_everywhere(self, *argv: str) -> None:
        """Run a command as root on all nodes at once; raises what the first that failed raised."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(lambda node: connect(node.as_admin()).run(argv, timeout=NODE_SECONDS), self.nodes))

    def remove(self, *paths: str) -> None:
        """Make sure none of the paths exists on any node."""
        self.run_everywhere("rm", "-rf", "--", *paths)

    def cpu_seconds(self) -> float:
        """CPU time of all nodes so far, as their control groups count it."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            return sum(pool.map(lambda n: float(connect(n.as_admin()).run_script(NODE_CPU).text), self.nodes))

    def wait_for_spare(self, platform: str) -> None:
        """All nodes have a spare copy of what is current; CommandFailed when one has none in a minute."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            run = partial(_run_as_admin, SPARE, platform)
            list(pool.map(run, self.nodes))

    def digest(self, node: Node, path: str) -> str:
        """The digest of a directory on a node, comparable with `tree.digest_tree`."""
        ssh = connect(node.as_admin())
        return ssh.run_script(NODE_DIGEST, path, timeout=NODE_SECONDS).text.split()[0]


def start(count: int) -> Bed:
    """Bring the first `count` nodes up and prepare them as a fleet's servers are."""
    stop()
    STATE.mkdir(parents=True, exist_ok=True)
    disk.mount(DISK)
    run_nodes("up", *_names(count))
    bed = describe(count)
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(prepare, bed.nodes))
    bed.run_everywhere("mkdir", "-p", DESTINATION)
    return bed


def describe(count: int) -> Bed:
    """The first `count` nodes, which are up."""
    key = STATE / "id_ed25519"
    secret = SecretStr(key.read_text(encoding="ascii"))
    host_keys = _read_host_keys(STATE / "known_hosts")
    nodes = tuple(
        Node(name, f"{NET}.{50 + number}", "nginx", private_key=secret, host_keys=(host_keys[name],))
        for number, name in enumerate(_names(count), start=1)
    )
    return Bed(nodes, key, STATE / "known_hosts")


def stop() -> None:
    """Remove the nodes and nothing else."""
    disconnect_all()
    run_nodes("down")
    disk.unmount(DISK)


def run_nodes(*argv: str, project: str = PROJECT, net: str = NET, state: Path = STATE) -> None:
    """Call docker/nodes on a bed of the benchmark's; raises CalledProcessError."""
    mine = {"PACKMASTER_PROJECT": project, "PACKMASTER_NET": net, "PACKMASTER_STATE": str(state)}
    command: Sequence[str] = (str(ROOT / "docker" / "nodes"), *argv)
    environment = {**os.environ, **mine, "PACKMASTER_HTTP_BASE": ""}
    subprocess.run(command, env=environment, check=True, timeout=BED_SECONDS, stdin=subprocess.DEVNULL)


def _run_as_admin(script: str, argument: str, node: Node) -> None:
    connect(node.as_admin()).run_script(script, argument, timeout=NODE_SECONDS)


def _names(count: int) -> tuple[str, ...]:
    return tuple(f"bench{number}" for number in range(1, count + 1))


def _read_host_keys(file: Path) -> dict[str, str]:
    keys = {}
    for line in file.read_text(encoding="ascii").splitlines():
        names, kind, key = line.split()
        keys[names.split(",")[0]] = f"{kind} {key}"
    return keys
