"""Two packs on one pair of NFS servers: what becomes of one's share, the other does not notice.

Each test begins where the last ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from blocks import NfsServer, Pack, Share, WebServer
from flows.check_share import check_share
from flows.failover_share import failover_share
from flows.ledger import _name, read_ledger
from flows.provision_pack import provision_pack
from flows.rejoin_standby import rejoin_standby
from flows.switch_share import switch_share
from flows.sync_standby import sync_standby
from tasks.failover import Ledger
from tasks.fencing.record import RECORDS
from tasks.fleet import ServerKind
from tasks.ssh import disconnect_all
from tests.nodes.conftest import KEEP, host_keys, nodes
from tests.nodes.failing import NO_GATE, SERVERS, WRITER
from tests.nodes.fleet import Fleet, change_nothing, fleet, outcome_of, saved, succeed, wait_until
from tests.nodes.machines import PackBed
from tests.nodes.shares import DISK, GRACE, UNEXPORTED, WITHOUT, on_all
from tests.nodes.takeovers import IN_DOUBT, TRIES

__all__ = ["fleet"]

ONE, OTHER = "one-files", "other-files"
PACKS = {ONE: ("master1", "slave1"), OTHER: ("slave2", "slave3")}
EVERY = (*PACKS[ONE], *PACKS[OTHER])
KINDS: dict[str, ServerKind] = {
    "master1": "apache",
    "slave1": "apache",
    "slave2": "nginx",
    "slave3": "apache",
}
BOOT_SECONDS = 120
# Five machines and what tests them share two cores. A server that did not answer would be missed for longer.
BUSY_SECONDS = 6.0


@dataclass(frozen=True)
class TwoPacks:
    """`one-files` of master1 and slave1, `other-files` of slave2 and slave3; on nfs1, nfs2 stands by."""

    bed: PackBed

    def share(self, name: str) -> Share:
        return Share.get(name, "a test")

    def clients(self, server: str, share: str) -> set[str]:
        """Who may mount a share's data from a server whose nfsd runs."""
        lines = self.bed.guest(server, "cat /var/lib/nfs/etab 2>/dev/null || :").splitlines()
        found = [line.split("\t") for line in lines]
        return {spec.partition("(")[0] for path, spec in found if path == f"{DISK}/{share}/sites"}

    def sources(self, share: str) -> set[str]:
        """The servers from which anything of a pack's nodes is mounted."""
        names = {self.bed.addresses[server]: server for server in SERVERS}
        lines = [
            line
            for node in PACKS[share]
            for line in self.bed.guest(node, "grep ' nfs4 ' /proc/self/mountinfo || :").splitlines()
        ]
        return {names[line.split(" - ")[1].split()[1].partition(":")[0]] for line in lines}

    def role(self, server: str, share: str) -> str:
        return " ".join(self.bed.guest(server, f"cat {RECORDS}/{share}").split()[1:4:2])

    def mounts(self, share: str) -> list[str]:
        """The kernel's own numbers of a pack's mounts: others after each new mount."""
        return [
            self.bed.guest(node, "awk '/ nfs4 / { print $1, $5 }' /proc/self/mountinfo")
            for node in PACKS[share]
        ]

    def write(self, share: str) -> None:
        """Somebody writes on each node of the pack from now on, until `longest_wait`."""
        for node in PACKS[share]:
            folder = "/var/aegir/sites/load"
            self.bed.guest(node, f"su aegir -s /bin/sh -c 'mkdir -p {folder}; rm -f {folder}/{node}'")
            self.bed.guest(node, "cat >/tmp/writer.pl; rm -f /tmp/acked", stdin=WRITER)
            command = f"perl /tmp/writer.pl {folder}/{node} /tmp/acked"
            self.bed.guest(node, f"nohup su aegir -s /bin/sh -c '{command}' >/dev/null 2>&1 &")
            self.bed.guest(node, "until [ -s /tmp/acked ]; do sleep 0.2; done", timeout=60)

    def longest_wait(self, share: str) -> float:
        """For how many seconds nobody's writing was acknowledged, on the node where that was the longest."""
        longest = 0.0
        for node in PACKS[share]:
            self.bed.guest(node, "sleep 1")
            said = self.bed.guest(node, "pkill -9 -f writer.p[l]; date +%s.%N; cat /tmp/acked", check=False)
            now, *lines = said.splitlines()
            times = [*(float(line.split()[1]) for line in lines), float(now)]
            longest = max(longest, *(later - earlier for earlier, later in pairwise(times)))
        return longest


@pytest.fixture(scope="module")
def two(fleet: Fleet, pack_bed: PackBed) -> Iterator[TwoPacks]:
    """Both packs, provided."""
    nodes("up", "slave3")
    pack_bed.addresses["slave3"] = f"{os.environ['PACKMASTER_NET']}.74"
    pack_bed.host_keys["slave3"] = host_keys()["slave3"]
    clean(pack_bed)
    on_all(pack_bed, GRACE, *SERVERS)
    provide(fleet, pack_bed)
    yield TwoPacks(pack_bed)
    disconnect_all()
    pack_bed.mend()
    if not KEEP:
        clean(pack_bed)
        nodes("compose", "rm", "--stop", "--force", "slave3")
        pack_bed.shell.close("slave3")
        del pack_bed.addresses["slave3"], pack_bed.host_keys["slave3"]


def clean(bed: PackBed) -> None:
    on_all(bed, WITHOUT, *EVERY)
    on_all(bed, NO_GATE + UNEXPORTED, *SERVERS)


def provide(fleet: Fleet, bed: PackBed) -> None:
    """The packs as blocks, and as provision-pack leaves them."""
    for name, kind in KINDS.items():
        saved(WebServer(kind=kind, **bed.place(name, fleet.credentials)), name)
    servers = []
    for name in SERVERS:
        server = NfsServer(**bed.place(name, fleet.credentials))
        server.fence_command = ["docker", "kill", f"{bed.project}-{name}"]
        server.fence_check = ["docker", "inspect", "-f", "{{.State.Running}}", f"{bed.project}-{name}"]
        server.fence_off = "false"
        servers.append(saved(server, name))
    for name, (master, *slaves) in PACKS.items():
        fleet.api.delete(f"/variables/name/{_name(name)}")
        share = Share(server=servers[0], standby=servers[1], disk=DISK, automatic_failover=True)
        pack = Pack(master=WebServer.load(master), slaves=slaves, share=saved(share, name))
        succeed(provision_pack, pack=saved(pack, name))


def fail_over(two: TwoPacks, name: str) -> Any:
    """The state of a failover that asks nobody; machines that are too busy to be sure are asked again."""
    for _ in range(TRIES):
        state = failover_share(share=two.share(name), automatic=True, return_state=True)
        if IN_DOUBT not in str(state.message):
            break
    return state


def test_each_share_is_for_its_own_pack(two: TwoPacks) -> None:
    assert two.clients("nfs1", OTHER) == {two.bed.addresses[name] for name in PACKS[OTHER]}
    export = f"{two.bed.addresses['nfs1']}:{DISK}/{OTHER}/sites"
    tried = f"mkdir -p /mnt/tried; mount -t nfs4 -o retry=0,ro {export} /mnt/tried 2>&1 || echo refused"
    assert "refused" in two.bed.guest("master1", tried, timeout=120)
    for name in PACKS:
        change_nothing(provision_pack, pack=Pack.get(name, "a test"))
        assert check_share(share=two.share(name), return_state=True).is_completed()
        succeed(sync_standby, share=two.share(name))


def test_a_share_is_moved_away_and_the_other_goes_on(two: TwoPacks) -> None:
    before = two.mounts(OTHER)
    two.write(OTHER)
    succeed(switch_share, share=two.share(ONE))
    waited = two.longest_wait(OTHER)
    print(f"{OTHER} waited for {waited:.1f} s while {ONE} was moved")
    assert waited < BUSY_SECONDS
    assert two.mounts(OTHER) == before
    assert (two.sources(ONE), two.sources(OTHER)) == ({"nfs2"}, {"nfs1"})
    assert not two.clients("nfs1", ONE)
    assert (two.role("nfs1", OTHER), two.role("nfs2", OTHER)) == ("1 primary", "1 standby")
    assert (two.role("nfs2", ONE), two.role("nfs1", ONE)) == ("2 primary", "2 standby")
    change_nothing(failover_share, share=two.share(OTHER))


def test_the_server_of_one_is_the_standby_of_the_other_and_dies(two: TwoPacks) -> None:
    before = two.mounts(ONE)
    two.write(ONE)
    two.bed.power_off("nfs1")
    outcome_of(fail_over(two, OTHER))
    waited = two.longest_wait(ONE)
    print(f"{ONE} waited for {waited:.1f} s while {OTHER} failed over to its server")
    assert waited < BUSY_SECONDS
    assert two.mounts(ONE) == before
    assert (two.sources(ONE), two.sources(OTHER)) == ({"nfs2"}, {"nfs2"})
    two.bed.power_on("nfs1")
    wait_until(lambda: two.role("nfs1", OTHER) == "1 fenced", BOOT_SECONDS)
    assert not two.clients("nfs1", OTHER)
    for name in PACKS:
        change_nothing(failover_share, share=two.share(name))
    succeed(rejoin_standby, share=two.share(OTHER))
    succeed(sync_standby, share=two.share(ONE))


def test_the_server_of_both_dies_and_both_fail_over_at_once(two: TwoPacks) -> None:
    two.bed.power_off("nfs2")
    with ThreadPoolExecutor(len(PACKS)) as pool:
        states = dict(zip(PACKS, pool.map(lambda name: fail_over(two, name), PACKS), strict=True))
    for name, state in states.items():
        outcome_of(state)
        assert two.sources(name) == {"nfs1"}
    assert read_ledger(ONE) == Ledger(3, "nfs1")
    assert read_ledger(OTHER) == Ledger(3, "nfs1")
    two.bed.power_on("nfs2")
    for name in PACKS:
        wait_until(lambda name=name: two.role("nfs2", name).endswith("fenced"), BOOT_SECONDS)
        succeed(rejoin_standby, share=two.share(name))
        assert check_share(share=two.share(name), return_state=True).is_completed()
    for name in PACKS:
        change_nothing(provision_pack, pack=Pack.get(name, "a test"))
