"""A pack whose share has a standby, under load: provided once for a module's tests, and taken down again."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from blocks import NfsServer, Pack, Platform, Share, Site, WebServer, site_block_name
from flows.add_site import add_site
from flows.create_platform import create_platform
from flows.ledger import _name
from flows.locks import lock_name
from flows.provision_pack import provision_pack
from flows.sync_standby import sync_standby
from tasks.fencing.gate import GATE_FILES
from tasks.fencing.record import RECORDS
from tasks.grants.values import user_name
from tasks.ssh import disconnect_all
from tests.nodes.conftest import KEEP
from tests.nodes.fleet import Fleet, bury_runs, free_lock, saved, succeed, wait_until
from tests.nodes.grant_tools import forget
from tests.nodes.machines import PackBed
from tests.nodes.readers import Readers
from tests.nodes.shares import GRACE, UNEXPORTED, WITHOUT, on_all
from tests.nodes.witness import Witness

SHARE, DISK = "ha-files", "/srv/packmaster"
PLATFORM, SITE = "ha-pages", "pages.ha.test"
CODE, DATA = f"{DISK}/{SHARE}/platforms", f"{DISK}/{SHARE}/sites"
KINDS: dict[str, Any] = {"master1": "apache", "slave1": "apache", "slave2": "nginx"}
NODES, SERVERS = tuple(KINDS), ("nfs1", "nfs2")
RECORD = f"{RECORDS}/{SHARE}"
# A writer whose server went away gets an error, and tries again every 0.2 s.
WRITING_SECONDS = 3
# Numbers, one a line, each on the server's disk before it is noted here that it was acknowledged. After an
# error, as in a failover, the same number is written again. Between two nothing is held open.
WRITER = r"""
use IO::Handle; use Time::HiRes qw(sleep time);
my ($path, $acked) = @ARGV;
open(my $list, '>>', $acked) or die; $list->autoflush(1);
sub put {
    open(my $file, '>>', $path) or return;
    print($file "$_[0]\n") and $file->flush and $file->sync and close($file);
}
for (my $number = 1; ; $number++) {
    sleep(0.2) until put($number);
    printf $list "%d %.3f\n", $number, time; sleep(0.2);
}
"""
# Code and data are on the share; only what was uploaded says that both are there. Whether there is a name
# that nobody asked for before only the server knows: no page comes from a cache while that is dead.
PAGE = """<?php
$folder = $_SERVER['PACKMASTER_DATA'] . '/files';
$file = "$folder/greeting";
if (isset($_GET['write'])) { file_put_contents($file, $_GET['write']); }
file_exists("$folder/never-" . bin2hex(random_bytes(8)));
echo is_file($file) ? file_get_contents($file) : 'nothing was written';
"""
GREETING = "served-from-the-share"
NO_GATE = f"""
systemctl disable --now packmaster-epoch.socket packmaster-watch 2>/dev/null
rm -rf {RECORDS} {" ".join(file.path for file in GATE_FILES)}
systemctl daemon-reload
"""


@dataclass
class Failing:
    """The pack `ha-files`: master1, slave1, slave2; its share on nfs1, with the standby nfs2."""

    fleet: Fleet
    bed: PackBed
    share_name: str = SHARE
    writers: list[str] = field(default_factory=list)
    readers: Readers | None = None
    """Who asks for the site's page through each node that is written through; None before there is a site."""

    def __post_init__(self) -> None:
        self.witness = Witness(self.bed, SERVERS, DISK)

    @property
    def share(self) -> Share:
        return Share.get(SHARE, "a test")

    def release_locks(self) -> None:
        """What LEASE_SECONDS of waiting would do after a run was killed."""
        bury_runs(self.fleet.api)
        names = [lock_name("server", name) for name in (*NODES, *SERVERS)]
        for name in [*names, lock_name("share", SHARE)]:
            free_lock(self.fleet.api, name)

    def set_share(self, **fields: Any) -> None:
        share = self.share
        for name, value in fields.items():
            setattr(share, name, value)
        saved(share, SHARE)

    def set_fence(self, name: str, *command: str) -> None:
        """How `name` is put out of action; without a command, nobody can."""
        server = NfsServer.get(name, "a test")
        container = f"{self.bed.project}-{name}"
        server.fence_command = list(command)
        server.fence_check = ["docker", "inspect", "-f", "{{.State.Running}}", container] if command else []
        server.fence_off = "false" if command else ""
        saved(server, name)

    def role(self, name: str) -> str:
        """Epoch and role as recorded on a server."""
        return " ".join(self.bed.guest(name, f"cat {RECORD}").split()[1:4:2])

    def exported(self, name: str) -> int:
        """How many exports of the share are in force on a server whose nfsd runs."""
        threads = self.bed.guest(name, "cat /proc/fs/nfsd/threads 2>/dev/null || :").strip()
        exported = self.bed.guest(name, f"grep -c {DISK} /var/lib/nfs/etab || :")
        return int(exported or 0) if threads not in {"", "0"} else 0

    def one_writable(self) -> str:
        """The only server that exports, or nothing; two fail the test.

        Whoever runs and can be asked is asked: one whose cable is out serves nobody, whatever it exports.
        """
        asked = [name for name in SERVERS if name not in self.bed.unplugged and self.bed.runs(name)]
        found = [name for name in asked if self.exported(name)]
        assert len(found) < 2, found
        return found[0] if found else ""

    def waits(self, name: str) -> bool:
        """Whether nfsd was kept from starting since the server's boot, for it does not know who serves."""
        said = self.bed.guest(name, "journalctl -b -u nfs-server --no-pager -q")
        return "nfsd must not start yet" in said

    def reported(self) -> tuple[float, str]:
        """Since when what was acknowledged may be lost, as the operator was told; what the time line says."""
        plan = self.fleet.artifact(f"plan-failover-{SHARE}")
        (said,) = re.findall(r"what was written in the last (\d+) s may be lost", str(plan["data"]))
        told = datetime.fromisoformat(plan["created"]).timestamp()
        return told - float(said), str(self.fleet.artifact(f"timeline-{SHARE}")["description"])

    def events(self) -> set[str]:
        """What was told about the share so far; events are recorded with a delay."""
        wanted = {"resource": {"id": [f"packmaster.share.{SHARE}"]}}
        found = self.fleet.api.post("/events/filter", json={"filter": wanted, "limit": 50}).json()["events"]
        return {event["event"] for event in found}

    def sources(self, name: str) -> set[str]:
        """Which servers a node mounts from."""
        lines = self.bed.guest(name, "grep ' /var/aegir/.* nfs4 ' /proc/self/mountinfo || :").splitlines()
        octets = {self.bed.addresses[server]: server for server in SERVERS}
        found = {line.split(" - ")[1].split()[1].partition(":")[0] for line in lines}
        return {octets.get(address, address) for address in found}

    def serve_page(self, source: Path) -> None:
        """A site of the pack greets every visitor with what is on its share."""
        (source / "index.php").write_text(PAGE)
        pack = Pack.get(SHARE, "a test")
        succeed(create_platform, platform=PLATFORM, target=pack, source=str(source), profile="php")
        platform = Platform.get(PLATFORM, "a test")
        succeed(add_site, uri=SITE, platform=platform, database=self.fleet.database)
        addresses = {name: self.bed.addresses[name] for name in NODES}
        self.readers = readers = Readers(addresses, SITE, GREETING)
        readers.ask("master1", f"/?write={GREETING}")
        # The slaves were asked before, and know for some seconds that there is no such file.
        wait_until(lambda: [readers.ask(name) for name in NODES] == [GREETING] * 3)
        succeed(sync_standby, share=self.share)

    def load(self, *names: str) -> None:
        """Somebody writes on each of the nodes from now on, and asks for the site's page, until `stop`.

        Numbers begin anew, so that none of an earlier load may stand for one that was lost.
        """
        folder = "/var/aegir/sites/load"
        self.bed.guest("master1", f"su aegir -s /bin/sh -c 'rm -rf {folder}; install -d -m 777 {folder}'")
        for name in names or NODES:
            self.bed.guest(name, "cat >/tmp/writer.pl; rm -f /tmp/acked", stdin=WRITER)
            self.bed.guest(name, f"nohup perl /tmp/writer.pl {folder}/{name} /tmp/acked >/dev/null 2>&1 &")
            self.writers.append(name)
        for name in names or NODES:
            self.bed.guest(name, "until [ -s /tmp/acked ]; do sleep 0.2; done", timeout=60)
        if self.readers:
            self.readers.start(*(names or NODES))
        self.witness.start()

    def stop(self) -> dict[str, list[tuple[int, float]]]:
        """Nobody writes any more; what was acknowledged on each node: numbers and when.

        Fails the test when two servers could be written to meanwhile.
        """
        if self.readers:
            self.readers.stop()
        acked = {}
        for name in dict.fromkeys(self.writers):
            said = self.bed.guest(name, "pkill -9 -f writer.p[l]; cat /tmp/acked", check=False)
            pairs = [line.split() for line in said.splitlines()]
            acked[name] = [(int(number), float(when)) for number, when in pairs]
        self.writers.clear()
        self.witness.stop()
        return acked

    def lost(self, server: str) -> list[float]:
        """Everybody goes on writing and reading, and then stops: when each record was acknowledged that the
        server's own disk has not.
        """
        began, lost = time.time(), []
        time.sleep(WRITING_SECONDS)
        if self.readers:
            for name, answers in self.readers.served.items():
                print(f"{name}: no page for {self.readers.longest_outage(name):.1f} s")
                assert max(answers, default=0) > began, f"{name} does not serve its page any more"
        for name, pairs in self.stop().items():
            assert pairs[-1][1] > began, f"{name} does not write any more"
            has = set(self.bed.guest(server, f"cat {DATA}/load/{name} || :").split())
            lost += [when for number, when in pairs if str(number) not in has]
        return lost


@pytest.fixture(scope="module")
def failing(fleet: Fleet, pack_bed: PackBed) -> Iterator[Failing]:
    """The pack, provided; afterwards its machines share nothing any more."""
    on_all(pack_bed, WITHOUT)
    on_all(pack_bed, NO_GATE + UNEXPORTED, *SERVERS)
    on_all(pack_bed, GRACE, *SERVERS)
    yield provide(fleet, pack_bed)
    disconnect_all()
    forget(fleet.database.database(), user_name(SITE))
    Site.unregister(site_block_name(SITE))
    Platform.unregister(PLATFORM)
    pack_bed.mend()
    if not KEEP:
        on_all(pack_bed, WITHOUT)
        on_all(pack_bed, NO_GATE + UNEXPORTED, *SERVERS)


def provide(fleet: Fleet, bed: PackBed) -> Failing:
    """nfs1 serves, nfs2 is its standby, whatever was before."""
    fleet.api.delete(f"/variables/name/{_name(SHARE)}")

    for name, kind in KINDS.items():
        saved(WebServer(kind=kind, **bed.place(name, fleet.credentials)), name)
    servers = {name: saved(NfsServer(**bed.place(name, fleet.credentials)), name) for name in SERVERS}
    share = saved(Share(server=servers["nfs1"], standby=servers["nfs2"], disk=DISK), SHARE)
    pack = saved(Pack(master=WebServer.load("master1"), slaves=list(NODES[1:]), share=share), SHARE)
    made = Failing(fleet, bed)
    for name in SERVERS:
        made.set_fence(name, "docker", "kill", f"{bed.project}-{name}")
    succeed(provision_pack, pack=Pack.get(pack.name, "a test"))
    return made
