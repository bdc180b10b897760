"""The machines of a pack as an operator registers them, and as provision-pack leaves them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocks import NfsServer, Pack, Share, WebServer
from flows.locks import lock_name
from flows.provision_pack import provision_pack
from tasks.fleet import Machine, Node, ServerKind
from tasks.ssh import Ssh
from tests.nodes.fleet import Fleet, free_lock, saved, succeed
from tests.nodes.machines import PackBed

MASTER, SLAVES = "master1", ("slave1", "slave2")
KINDS: dict[str, ServerKind] = {"master1": "apache", "slave1": "apache", "slave2": "nginx"}
PLATFORMS = "/var/aegir/platforms"
EXPORTED = "/srv/packmaster"
MEGABYTES = 8
PAGE = """<?php
$db = new mysqli($_SERVER['DB_HOST'], $_SERVER['DB_USER'], $_SERVER['DB_PASSWORD'], $_SERVER['DB_NAME']);
$file = $_SERVER['PACKMASTER_DATA'] . '/files/' . basename($_GET['file'] ?? 'none');
if (isset($_GET['write'])) { file_put_contents($file, $_GET['write']); }
echo is_file($file) ? file_get_contents($file) : '%s, ' . $db->query('SELECT 1 + 1')->fetch_row()[0];
"""


@dataclass(frozen=True)
class PackFleet(Fleet):
    """master1, slave1 and slave2 as `pack`, whose share is on nfs1."""

    pack: Pack
    admins: dict[str, Ssh[Any]]

    def release_locks(self) -> None:
        super().release_locks()
        for lock in (lock_name("server", "nfs1"), lock_name("share", self.pack.share.name)):
            free_lock(self.api, lock)


class Shop:
    """A small PHP site on the pack, and the source of its next release."""

    def __init__(self, fleet: PackFleet, source: Path, platform: str, site: str) -> None:
        self.fleet, self.source, self.name, self.site, self.number = fleet, source, platform, site, 0
        (source / "big").write_bytes(os.urandom(MEGABYTES << 20))
        self.write()

    def write(self) -> None:
        self.number += 1
        (self.source / "index.php").write_text(PAGE % f"release {self.number}")

    @property
    def wanted(self) -> dict[str, Any]:
        return {"platform": self.fleet.platform(self.name)}

    def check(self, *names: str, number: int = 0) -> None:
        bodies = self.fleet.bodies(self.site, names=names)
        assert set(bodies) == {f"release {number or self.number}, 2"}, bodies

    def current(self) -> set[str]:
        return {self.fleet.current(name, self.name) for name in self.fleet.names}

    def staged(self) -> list[str]:
        """What is in the platform's releases on the NFS server's disk."""
        releases = f"{EXPORTED}/{self.fleet.pack.share.name}/platforms/{self.name}/releases"
        listed = self.fleet.execute("nfs1", "ls", "-A", releases).split()
        return [name for name in listed if not name.startswith((".spare-", ".making-", ".trash-"))]


def register_pack(fleet: Fleet, machines: PackBed, name: str) -> PackFleet:
    """Save the machines as blocks, and a pack of them that has a share of the same name."""
    key = fleet.credentials.private_key
    fields = {
        machine: {
            "address": machines.addresses[machine],
            "credentials": fleet.credentials,
            "host_keys": [machines.host_keys[machine]],
        }
        for machine in (*KINDS, "nfs1")
    }
    for machine, kind in KINDS.items():
        saved(WebServer(kind=kind, **fields[machine]), machine)
    server = saved(NfsServer(**fields["nfs1"]), "nfs1")
    share = saved(Share(server=server), name)
    pack = saved(Pack(master=WebServer.load(MASTER), slaves=list(SLAVES), share=share), name)
    nodes = tuple(
        Node(machine, machines.addresses[machine], kind, key, (machines.host_keys[machine],))
        for machine, kind in KINDS.items()
    )
    every: list[Machine] = [*nodes, server.machine()]
    admins: dict[str, Ssh[Any]] = {machine.name: Ssh(machine.as_admin()) for machine in every}
    own = {field: getattr(fleet, field) for field in Fleet.__dataclass_fields__}
    own |= {"nodes": nodes, "execute": execute_on(admins, fleet.execute)}
    return PackFleet(**own, pack=pack, admins=admins)


def execute_on(admins: dict[str, Ssh[Any]], elsewhere: Callable[..., str]) -> Callable[..., str]:
    """Commands as root on machines with a kernel of their own, over one connection; on others as before."""

    def execute(name: str, *argv: str, stdin: str | None = None, check: bool = True) -> str:
        if name not in admins:
            return elsewhere(name, *argv, stdin=stdin, check=check)
        return admins[name].run(argv, stdin=(stdin or "").encode(), check=check, timeout=120).text

    return execute


def provide(fleet: PackFleet) -> PackFleet:
    """The pack as provision-pack leaves it."""
    succeed(provision_pack, pack=fleet.pack)
    return fleet
