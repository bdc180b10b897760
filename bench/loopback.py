"""Hosts by the hundred: sshd in one container, on as many of this machine's loopback addresses as wanted."""

from __future__ import annotations

import shutil
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from bench.bed import HOME
from tasks.fleet import Node

IMAGE = "packmaster/node-bare"
START_SECONDS = 120
# Only loopback addresses are listened on: nobody reaches these hosts from outside. One sshd listens on
# sixteen at most (MAX_LISTEN_SOCKS in OpenSSH's sshd.c).
LISTEN = """
set -eu
mkdir -p /run/sshd
ssh-keygen -A >/dev/null
install -d -m 0700 /root/.ssh
cat >/root/.ssh/authorized_keys
port=$1
shift
while [ $# -gt 0 ]; do
    options=
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do
        [ $# -gt 0 ] || break
        options="$options -o ListenAddress=$1:$port"
        shift
    done
    # shellcheck disable=SC2086 # addresses have no spaces
    /usr/sbin/sshd -o PidFile=none -o MaxStartups=1000 -o UseDNS=no $options
done
cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub
"""


@dataclass(slots=True)
class Hosts:
    """`start` makes `nodes` answer; `stop` removes the container and the key."""

    project: str = "packmaster-bench-hosts"
    nodes: tuple[Node, ...] = field(default=())

    @property
    def folder(self) -> Path:
        return HOME / self.project

    def start(self, count: int) -> None:
        """So many hosts answer, each at an address of its own; raises RuntimeError with what Docker said."""
        self.stop()
        self.folder.mkdir(parents=True)
        key = self.folder / "id_ed25519"
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.project, "-f", str(key))
        # Compose has no part in this: the hosts are addresses, and not containers.
        _run(
            "docker", "run", "-d", "--rm", "--name", self.project, "--network", "host", IMAGE, "sleep", "inf"
        )
        addresses, port = list_addresses(count), _find_port()
        said = _run(
            *("docker", "exec", "-i", self.project, "sh", "-c", LISTEN, "sh", str(port), *addresses),
            stdin=key.with_suffix(".pub").read_text(encoding="ascii"),
        )
        secret, host_keys = SecretStr(key.read_text(encoding="ascii")), (said.strip(),)
        self.nodes = tuple(
            Node(f"host{number:03}", address, "nginx", secret, host_keys, port, "root")
            for number, address in enumerate(addresses, start=1)
        )

    def stop(self) -> None:
        """Nothing of it is left."""
        subprocess.run(
            ("docker", "rm", "--force", self.project), capture_output=True, timeout=60, check=False
        )
        shutil.rmtree(self.folder, ignore_errors=True)


def list_addresses(count: int) -> tuple[str, ...]:
    """The first `count` addresses, from 127.0.1.1 on; 127.0.0.0/24 is left to others."""
    return tuple(f"127.0.{1 + number // 250}.{1 + number % 250}" for number in range(count))


def _find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.1.1", 0))
        return int(probe.getsockname()[1])


def _run(*argv: str, stdin: str = "") -> str:
    done = subprocess.run(
        argv, input=stdin, capture_output=True, text=True, timeout=START_SECONDS, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout
