"""Whose packets fencing drops, by a real packet filter: the machines of a pack have none in their kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tasks.scripts import read_script
from tests.nodes.conftest import DockerExec, nodes, run
from tests.nodes.fleet import wait_until

LISTEN = "$s = IO::Socket::INET->new(LocalPort => 2049, Listen => 9) or die; close $c while $c = $s->accept"
CONNECT = "exit !IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => 2049, Timeout => 2)"
ONE, OTHER = "/srv/one", "/srv/other"
# A client that there is not (RFC 3849).
ELSEWHERE = "2001:db8::7"


@dataclass(frozen=True)
class Filter:
    """Something at port 2049 that packets may be kept from."""

    container: str
    address: str
    docker_exec: DockerExec

    def execute(self, *argv: str, stdin: str = "") -> str:
        return run("docker", "exec", "--interactive", self.container, *argv, stdin=stdin)

    def export(self, *exports: tuple[str, str]) -> None:
        """What exportfs(8) would say is exported: path and client."""
        table = "".join(f"{path}/sites\t{client}(rw,sync)\n" for path, client in exports)
        self.execute("sh", "-c", "mkdir -p /var/lib/nfs && cat >/var/lib/nfs/etab", stdin=table)

    def run(self, script: str, *args: str) -> None:
        self.execute("sh", "-euc", read_script("tasks.fencing", script), "packmaster", *args)

    def fence(self, path: str) -> None:
        self.run("fence", path.rpartition("/")[2], "", f"{path}/platforms", f"{path}/sites")

    def reached_from(self) -> set[str]:
        """Which of two nodes come through."""
        ask = f"perl -MIO::Socket::INET -e '{CONNECT}' {self.address} && echo yes || :"
        return {name for name in ("web1", "web2") if "yes" in self.docker_exec(name, "sh", "-c", ask)}


@pytest.fixture
def server(bed: Any, docker_exec: DockerExec) -> Iterator[Filter]:
    """A container with the packet filter of this machine's kernel, in a network name space of its own."""
    nodes("images", "nfs1")
    name = f"{bed.project}-filter"
    network = ("--network", f"{bed.project}_bed", "--cap-add", "NET_ADMIN")
    listen = ("perl", "-MIO::Socket::INET", "-e", LISTEN)
    run("docker", "rm", "--force", name, check=False)
    run("docker", "run", "--detach", "--name", name, *network, "packmaster/uml-host", *listen)
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    made = Filter(name, run("docker", "inspect", "--format", template, name).strip(), docker_exec)
    wait_until(lambda: made.reached_from() == {"web1", "web2"})
    yield made
    run("docker", "rm", "--force", name)


def test_clients_of_one_share_wait_and_those_of_the_other_go_on(server: Filter, bed: Any) -> None:
    web1, web2 = bed.addresses["web1"], bed.addresses["web2"]
    server.export((ONE, web1), (OTHER, web2))
    server.fence(ONE)
    assert server.reached_from() == {"web2"}
    # exportfs(8) has taken the first one back meanwhile.
    server.export((OTHER, web2))
    server.fence(OTHER)
    server.fence(OTHER)
    assert server.reached_from() == set()
    server.run("open", "one", "")
    assert server.reached_from() == {"web1"}
    server.run("open", "other", "")
    assert server.reached_from() == {"web1", "web2"}


def test_a_subnet_is_not_cut_off_from_what_else_is_exported(server: Filter, bed: Any) -> None:
    web2 = bed.addresses["web2"]
    subnet = f"{web2.rpartition('.')[0]}.0/24"
    for one, other in ((subnet, web2), (web2, subnet), (web2, web2), (web2, "*"), (web2, "@all")):
        server.export((ONE, one), (OTHER, other))
        server.fence(ONE)
        assert "web2" in server.reached_from(), (one, other)


def test_where_nothing_else_is_exported_every_client_waits(server: Filter, bed: Any) -> None:
    web1 = bed.addresses["web1"]
    server.export((ONE, f"{web1.rpartition('.')[0]}.0/24"), (ONE, ELSEWHERE))
    server.fence(ONE)
    assert server.reached_from() == set()
    assert f"-s {ELSEWHERE}/128 -p tcp" in server.execute("ip6tables", "-S")
