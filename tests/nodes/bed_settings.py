"""Which bed a process of the tests has: its name, network and directory, as docker/nodes takes them."""

import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# So far apart are the networks that one worker tries.
MOST_WORKERS = 16


def choose_settings() -> dict[str, str]:
    """What docker/nodes makes of the environment: this very bed, for whoever set it there.

    Where tests run in several processes, each has a bed of its own: the second one's name ends in -1, and its
    network is the next /24.
    """
    given = {"PACKMASTER_PROJECT": "packmaster-test", **os.environ}
    worker = int(given.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    found = read_settings(given)
    if worker:
        given["PACKMASTER_PROJECT"] = f"{found['PACKMASTER_PROJECT']}-{worker}"
        given.pop("PACKMASTER_STATE", None)
    given["PACKMASTER_NET"] = choose_net(found["PACKMASTER_NET"], worker, given["PACKMASTER_PROJECT"])
    return read_settings(given)


def choose_net(first: str, worker: int, project: str) -> str:
    """The worker's /24 from `first` on, or a later one of its own where another bed was left with that one.

    Docker keeps the networks of a killed session or benchmark over a restart of the engine and the machine.
    """
    taken = {subnet for name, subnet in read_subnets() if name != f"{project}_bed"}
    front, _, last = first.rpartition(".")
    candidates = [f"{front}.{number}" for number in range(int(last) + worker, 255, MOST_WORKERS)]
    return next((net for net in candidates if f"{net}.0/24" not in taken), candidates[0])


def read_subnets() -> Iterator[tuple[str, str]]:
    """Each subnet of Docker's networks, with the network's name; none where no engine answers."""
    networks = ["timeout", "20", "docker", "network"]
    listed = subprocess.run([*networks, "ls", "-q"], capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        form = "{{.Name}}{{range .IPAM.Config}} {{.Subnet}}{{end}}"
        inspect = [*networks, "inspect", "--format", form, *listed.stdout.split()]
        # One that went away since the listing fails the call, and the others are printed all the same.
        printed = subprocess.run(inspect, capture_output=True, text=True, check=False).stdout
        for name, *subnets in (line.split() for line in printed.splitlines()):
            yield from ((name, subnet) for subnet in subnets)


def read_settings(environment: dict[str, str]) -> dict[str, str]:
    done = subprocess.run(
        [ROOT / "docker" / "nodes", "env"], env=environment, capture_output=True, text=True, check=True
    )
    words = (word for word in shlex.split(done.stdout) if word != "export")
    return dict(word.split("=", 1) for word in words)
