"""A pack whose share is watched: provided once for a module's tests, and taken down again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from blocks import NfsServer, Pack, Share, WebServer
from flows.locks import lock_name
from flows.provision_pack import provision_pack
from flows.watch import Circle, find_circle
from tasks.errors import PackmasterError
from tasks.fleet import ServerKind
from tasks.liveness import Member, Sample, Sight, Verdict, facts, find_all
from tasks.liveness.quorum import Key
from tasks.liveness.verdicts import Finding
from tasks.ssh import disconnect_all
from tests.nodes.conftest import KEEP
from tests.nodes.fleet import Fleet, bury_runs, free_lock, saved, succeed
from tests.nodes.machines import PackBed

SHARE, DISK = "watched-files", "/srv/packmaster"
KINDS: dict[str, ServerKind] = {"master1": "apache", "slave1": "apache", "slave2": "nginx"}
NODES = tuple(KINDS)
# All machines share two cores with what else is tested at the same time.
SETTLE_SECONDS = 60
# All machines share two cores, so some are slow.
WORKS = frozenset({Verdict.OK, Verdict.SLOW})
# The shortest that nfsd takes: a test cannot wait 90 s each time that the server is back.
GRACE = """
mkdir -p /etc/nfs.conf.d /srv/packmaster
printf '[nfsd]\\nlease-time=10\\ngrace-time=10\\n' >/etc/nfs.conf.d/bed.conf
grep -q ^/dev/ubdb /etc/fstab || echo '/dev/ubdb /srv/packmaster ext4 nofail 0 0' >>/etc/fstab
systemctl daemon-reload
mountpoint -q /srv/packmaster || mount /srv/packmaster
sync  # or all this is gone after a power cut in the next half a minute
[ "$(cat /proc/fs/nfsd/nfsv4leasetime)" = 10 ] || systemctl restart nfs-server
"""
WITHOUT = """
for point in /var/aegir/sites /var/aegir/platforms; do umount -l "$point" 2>/dev/null; done
sed -i '/x-packmaster=/d' /etc/fstab
systemctl daemon-reload
"""
UNEXPORTED = """
rm -f /etc/exports.d/packmaster-*.exports
exportfs -r
systemctl stop nfs-server
rm -rf /srv/packmaster/* /etc/nfs.conf.d/bed.conf
umount /srv/packmaster
sed -i '/^.dev.ubdb/d' /etc/fstab
systemctl daemon-reload
"""


@dataclass
class Watching:
    """The pack, its machines from outside, and what the last look at it was."""

    fleet: Fleet
    bed: PackBed
    share: Share
    circle: Circle
    sample: Sample = field(default_factory=lambda: Sample(facts.ask_server("127.0.0.1")))
    seconds: float = 0.0

    @property
    def nodes(self) -> tuple[str, ...]:
        return NODES

    def release_locks(self) -> None:
        """What LEASE_SECONDS of waiting would do after a run was killed."""
        bury_runs(self.fleet.api)
        names = [lock_name("server", name) for name in (*NODES, "nfs1")]
        for name in [*names, lock_name("share", SHARE)]:
            free_lock(self.fleet.api, name)

    def member(self, name: str) -> Member:
        return next(member for member in self.circle.watched.members if member.name == name)

    def look(self) -> dict[Key, Finding]:
        """One sample, as the flow takes it, without Prefect around it."""
        watched, began = self.circle.watched, time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            here = pool.submit(facts.ask_server, watched.address)
            asked = {
                member.name: pool.submit(
                    facts.look_from_node, self.circle.nodes[member.name], watched, member
                )
                for member in watched.members
            }
            asked["nfs1"] = pool.submit(facts.look_from_server, self.circle.share.server, watched)
            seen: dict[str, Sight] = {}
            unseen: dict[str, str] = {}
            for name, future in asked.items():
                try:
                    seen[name] = future.result()
                except PackmasterError as failure:
                    unseen[name] = str(failure)
        self.seconds = time.monotonic() - began
        nodes = {name: sight for name, sight in seen.items() if name != "nfs1"}
        self.sample = Sample(here.result(), nodes, seen.get("nfs1"), unseen)
        return find_all(watched, self.sample)

    def wrong(self, found: Mapping[Key, Finding] | None = None) -> dict[Key, Verdict]:
        """What does not work, now or in what was found."""
        looked = self.look() if found is None else found
        return {key: one.verdict for key, one in looked.items() if one.verdict not in WORKS}

    def look_until(self, wrong: Mapping[Key, Verdict], *, alone: bool = True) -> dict[Key, Finding]:
        """A look that finds `wrong`, and `alone` nothing else.

        A single one may find a busy machine hung, which is why the flow believes three.
        """
        ends = time.monotonic() + SETTLE_SECONDS
        while True:
            found = self.look()
            here = self.wrong(found)
            if here == wrong if alone else here.items() >= wrong.items():
                return found
            if time.monotonic() > ends:
                pytest.fail(f"not {wrong} within {SETTLE_SECONDS} s, but {found}")


@pytest.fixture(scope="module")
def watching(fleet: Fleet, pack_bed: PackBed) -> Iterator[Watching]:
    """The pack, provided; afterwards its machines share nothing any more."""
    if not KEEP:
        on_all(pack_bed, WITHOUT)
    pack_bed.guest("nfs1", GRACE)
    pack = register(fleet, pack_bed)
    succeed(provision_pack, pack=pack)
    yield Watching(fleet, pack_bed, pack.share, find_circle(pack.share))
    disconnect_all()
    pack_bed.mend()
    if not KEEP:
        on_all(pack_bed, WITHOUT)
        pack_bed.guest("nfs1", UNEXPORTED, check=False)


def register(fleet: Fleet, bed: PackBed) -> Pack:
    """The machines as blocks, and a pack of them with a share of the same name."""
    for name, kind in KINDS.items():
        saved(WebServer(kind=kind, **bed.place(name, fleet.credentials)), name)
    server = saved(NfsServer(**bed.place("nfs1", fleet.credentials)), "nfs1")
    share = saved(Share(server=server, disk=DISK), SHARE)
    pack: Pack = saved(Pack(master=WebServer.load("master1"), slaves=list(NODES[1:]), share=share), SHARE)
    return pack


def on_all(bed: PackBed, script: str, *names: Any) -> None:
    with ThreadPoolExecutor(len(NODES)) as pool:
        list(pool.map(lambda name: bed.guest(name, script, check=False), names or NODES))
