"""The machines of a pack, each with its own kernel: looked into, rebooted and broken from outside."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.nodes.guests import Guests

if TYPE_CHECKING:
    from blocks import SshCredentials
    from tests.nodes.conftest import Bed

OCTETS = {"nfs1": 61, "nfs2": 62, "master1": 71, "slave1": 72, "slave2": 73}
MACHINES = tuple(OCTETS)
BOOT_SECONDS = 120.0
NODES_SCRIPT = Path(__file__).resolve().parents[2] / "docker" / "nodes"
BOOT_ID = "cat /proc/sys/kernel/random/boot_id"


def greets(address: str) -> bool:
    """Whether there is an SSH server; found out faster than by logging in."""
    with suppress(OSError), socket.create_connection((address, 22), timeout=1) as connection:
        connection.settimeout(3)
        return connection.recv(4) == b"SSH-"
    return False


@dataclass(frozen=True)
class PackBed:
    """Five machines that are up. Nothing here goes through Packmaster's own code.

    What a test breaks with `power_off`, `switch_off`, `unplug`, `drop_port` and `reject_port` is whole again
    after `mend`, which the fixture `breakable_pack` calls at the end of a test.
    """

    addresses: dict[str, str]
    host_keys: dict[str, str]
    """By name, "ssh-ed25519 AAAA...", read through Docker."""
    private_key: Path
    known_hosts: Path
    project: str
    controller: str
    """This machine's address as the others see it."""
    shell: Guests
    broken: set[str] = field(default_factory=set)
    unplugged: set[str] = field(default_factory=set)

    def place(self, name: str, credentials: SshCredentials) -> dict[str, Any]:
        """The fields of a block that say where a machine is and how it is reached."""
        keys = [self.host_keys[name]]
        return {"address": self.addresses[name], "credentials": credentials, "host_keys": keys}

    def guest(
        self, name: str, command: str, *, stdin: str = "", check: bool = True, timeout: float = 60
    ) -> str:
        """Run a shell command as root in a machine; gives what it printed.

        A machine that is off or does not answer within `timeout` seconds fails the test, too, unless `check`
        is false.
        """
        try:
            done = self.shell.run(name, command, stdin, timeout)
        except subprocess.TimeoutExpired:
            if check:
                pytest.fail(f"on {name} `{command}` took more than {timeout} s", pytrace=False)
            return ""
        if check and done.returncode != 0:
            pytest.fail(
                f"on {name} `{command}` ended with {done.returncode}:\n{done.stdout}{done.stderr}",
                pytrace=False,
            )
        return done.stdout

    def power_off(self, *names: str) -> None:
        """Pull the plug: what was not yet on its disk is lost."""
        self.broken.update(names)
        self.shell.close(*names)
        self._docker("kill", *names)

    def switch_off(self, *names: str) -> None:
        """As with its button: services are stopped, file systems unmounted."""
        self.broken.update(names)
        self.shell.close(*names)
        self._docker("stop", *names)

    def power_on(self, *names: str) -> None:
        """Start machines that are off, at the same time; they have booted afterwards."""
        self._docker("start", *names)
        self.await_boot(*names)

    def reboot(self, *names: str) -> None:
        """`reboot` in machines, at the same time; they have booted afterwards."""
        before = self._on_all(names, BOOT_ID)
        self._on_all(names, "systemctl --no-block reboot")
        self.shell.close(*names)
        self.await_boot(*names, other_than=before)

    def await_boot(self, *names: str, other_than: dict[str, str] | None = None) -> None:
        """Return when systemd of all machines has done its start (whether or not units failed).

        `other_than` has the ids of boots that are not meant: a machine answers for a while after `reboot`.
        """
        ends = time.monotonic() + BOOT_SECONDS
        with ThreadPoolExecutor(len(MACHINES)) as pool:
            list(pool.map(lambda name: self._await_boot(name, (other_than or {}).get(name, ""), ends), names))

    def unplug(self, name: str) -> None:
        """Its cable is out: nobody reaches it, and it nobody, and otherwise it goes on as ever."""
        self.shell.close(name)
        self.unplugged.add(name)
        self._docker("exec", name, command=("ip", "link", "set", "tap0", "nomaster"))

    def plug(self, name: str) -> None:
        """Its cable is in again."""
        self._docker("exec", name, command=("ip", "link", "set", "tap0", "master", "br0"))
        self.unplugged.discard(name)

    def drop_port(self, name: str, port: int, *sources: str) -> None:
        """Packets to a TCP port of a machine vanish; with `sources`, only those from these addresses."""
        self._fault(name, port, sources, "DROP")

    def reject_port(self, name: str, port: int, *sources: str) -> None:
        """Connections to a TCP port of a machine are refused, and the ones that there are reset."""
        self._fault(name, port, sources, "REJECT", "--reject-with", "tcp-reset")

    def restore(self, *names: str) -> None:
        """Packets get through again."""
        for name in names:
            self._docker("exec", name, command=("iptables", "-F", "FORWARD"))

    def mend(self) -> None:
        """Everything that was broken through this class runs again, and its ports are open."""
        for name in sorted(self.unplugged):
            self.plug(name)
        names = sorted(self.broken)
        if names:
            self.power_on(*names)
            self.restore(*names)
        self.broken.clear()

    def runs(self, name: str) -> bool:
        """Whether the machine is switched on."""
        asked = ["docker", "inspect", "-f", "{{.State.Running}}", f"{self.project}-{name}"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True)
        return done.stdout.strip() == "true"

    def _on_all(self, names: tuple[str, ...], command: str) -> dict[str, str]:
        with ThreadPoolExecutor(len(MACHINES)) as pool:
            return dict(zip(names, pool.map(lambda name: self.guest(name, command), names), strict=True))

    def _docker(self, verb: str, *names: str, command: tuple[str, ...] = ()) -> None:
        containers = [f"{self.project}-{name}" for name in names]
        subprocess.run(["docker", verb, *containers, *command], capture_output=True, timeout=120, check=True)

    def _await_boot(self, name: str, not_this: str, ends: float) -> None:
        # Fails with status 1 where a unit failed, which is for the test to look at.
        command = f"{BOOT_ID}; systemctl is-system-running --wait || :"
        said: list[str] = []
        while time.monotonic() < ends:
            if not greets(self.addresses[name]):
                time.sleep(0.2)
                continue
            said = self.guest(name, command, check=False, timeout=max(1.0, ends - time.monotonic())).split()
            if len(said) == 2 and f"{said[0]}\n" != not_this and said[1] in {"running", "degraded"}:
                return
            time.sleep(0.3)
        pytest.fail(f"{name} has not booted within {BOOT_SECONDS:g} s (it says {said})", pytrace=False)

    def _fault(self, name: str, port: int, sources: tuple[str, ...], *verdict: str) -> None:
        """Made on the machine's wire: its own packet filter, if it has one, is its own affair."""
        self.broken.add(name)
        rule = ("iptables", "-I", "FORWARD", "-p", "tcp", "--dport", str(port))
        for source in sources or ("0.0.0.0/0",):
            self._docker("exec", name, command=(*rule, "-s", source, "-j", *verdict))


@pytest.fixture(scope="session")
def pack_bed(bed: Bed) -> Iterator[PackBed]:
    """The machines of a pack, bare unless another test has prepared them; takes half a minute."""
    if platform.machine() != "x86_64":
        pytest.skip("machines with a kernel of their own (User-Mode Linux) need an amd64 processor")
    if not Path("/dev/net/tun").exists():
        pytest.skip("machines with a kernel of their own (User-Mode Linux) need /dev/net/tun")
    subprocess.run([NODES_SCRIPT, "up", *MACHINES], check=True, timeout=1800)
    known_hosts = Path(os.environ["PACKMASTER_STATE"]) / "known_hosts"
    keys = {}
    for line in known_hosts.read_text().splitlines():
        names, kind, key = line.split()
        keys[names.split(",")[0]] = f"{kind} {key}"
    net = os.environ["PACKMASTER_NET"]
    addresses = {name: f"{net}.{octet}" for name, octet in OCTETS.items()}
    machines = PackBed(
        addresses=addresses,
        host_keys={name: keys[name] for name in MACHINES},
        private_key=bed.private_key,
        known_hosts=known_hosts,
        project=bed.project,
        controller=bed.controller,
        shell=Guests(addresses, bed.private_key, known_hosts),
    )
    # A developer's kept bed may be as a failed test left it.
    machines.await_boot(*MACHINES)
    machines.restore(*MACHINES)
    yield machines
    machines.shell.close_all()


@pytest.fixture
def breakable_pack(pack_bed: PackBed) -> Iterator[PackBed]:
    """The pack's machines for a test that breaks something; whole again afterwards."""
    yield pack_bed
    pack_bed.mend()
