"""What goes wrong with a share on real machines, the verdict on each, and that nothing ever waits for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.fleet import PLATFORMS, SITES
from tasks.liveness import Verdict, facts
from tasks.liveness.quorum import Key
from tasks.ssh import disconnect_all
from tests.nodes.fleet import fleet, wait_until
from tests.nodes.shares import DISK, SHARE, WORKS, Watching, watching

__all__ = ["fleet", "watching"]

V = Verdict
SERVER, PATH = ("nfs1", "server"), ("controller", "path to the server")
PROBE = (Path(facts.__file__).with_name("scripts") / "probe.pl").read_text()
# One probe may take its 2 s limit, and what a busy machine needs around it.
SAMPLE_SECONDS = 8.0
PROBES = 100
# The name of a zombie's command is all that is left of it; the kernel's own threads have theirs in brackets.
LEFTOVERS = (
    "ps axo stat,comm,args | "
    """awk '$2 == "perl" { print "left", $0 } $1 ~ /^D/ && $3 !~ /^\\[/ { print "stuck", $0 }'"""
)


@pytest.fixture(autouse=True)
def whole_again(watching: Watching) -> Iterator[None]:
    yield
    watching.bed.mend()
    wait_until(lambda: not watching.wrong(), 180)


def everything(watching: Watching) -> set[Key]:
    return {SERVER, PATH, *((name, path) for name in watching.nodes for path in (PLATFORMS, SITES))}


def test_a_share_that_is_well(watching: Watching) -> None:
    found = watching.look_until({})
    assert "nfsd threads" in found[SERVER].detail
    assert set(found) == everything(watching)
    # What a node wrote is its own platform user's there, as the next look at the server shows.
    watching.look_until({})
    server = watching.sample.server
    assert server is not None
    owners = {(o.node, o.uid, o.gid) for o in server.owners}
    assert owners >= {(name, 5000, 5000) for name in watching.nodes}


def test_a_probe_as_root_is_no_probe_as_root(watching: Watching) -> None:
    """root is nobody on the share (root_squash), and may not write there."""
    node = watching.circle.nodes["slave1"]
    member = watching.member("slave1")
    watching.bed.guest("nfs1", f"rm -f {DISK}/{SHARE}/sites/.packmaster-probe-slave1")
    sight = facts.look_from_node(replace(node, user="root"), watching.circle.watched, member)
    assert sight.path(SITES).failed is None
    written = watching.bed.guest("nfs1", f"stat -c %u:%g {DISK}/{SHARE}/sites/.packmaster-probe-slave1")
    assert written.strip() == "5000:5000"


def test_packets_of_one_client_vanish(watching: Watching) -> None:
    watching.bed.drop_port("nfs1", 2049, watching.bed.addresses["slave1"])
    found = watching.look_until({("slave1", PLATFORMS): V.HUNG, ("slave1", SITES): V.HUNG})
    assert "slave1 cannot reach it" in found[SERVER].detail
    assert watching.seconds < SAMPLE_SECONDS


def test_one_client_is_rejected(watching: Watching) -> None:
    watching.bed.reject_port("nfs1", 2049, watching.bed.addresses["slave2"])
    watching.look_until({("slave2", PLATFORMS): V.HUNG, ("slave2", SITES): V.HUNG})
    assert watching.sample.nodes["slave2"].null.result == "refused"


def test_the_controller_is_cut_off_and_nobody_else(watching: Watching) -> None:
    watching.bed.drop_port("nfs1", 2049, watching.bed.controller)
    found = watching.look_until({PATH: V.HUNG})
    assert "my path" in found[PATH].detail


def test_a_hundred_probes_of_a_mount_that_hangs(watching: Watching) -> None:
    """They leave no process behind, and none of them waits for the mount; the kernel's own threads may."""
    stays = "setsid perl -e 'sleep 600' >/dev/null 2>&1 </dev/null &"
    watching.bed.guest("slave1", f"{stays} until pgrep -x perl; do sleep 0.1; done")
    assert watching.bed.guest("slave1", LEFTOVERS).startswith("left"), "one that is left would be seen"
    watching.bed.guest("slave1", "pkill -x perl")
    watching.bed.drop_port("nfs1", 2049, watching.bed.addresses["slave1"])
    asked = f"node slave1 aegir www-data {watching.bed.addresses['nfs1']} 0.1 {PLATFORMS} ro - {SITES} rw -"
    script = f"""
    cat >/run/probe.pl; cd /
    for number in $(seq {PROBES}); do timeout 5 perl /run/probe.pl {asked} || echo failed; done |
        cut -f 1,2 | sort | uniq -c
    sleep 0.5
    {LEFTOVERS}
    """
    said = watching.bed.guest("slave1", script, stdin=PROBE, timeout=120)
    counted = {tuple(line.split()[1:]): int(line.split()[0]) for line in said.splitlines() if line[0] == " "}
    assert counted["hung", SITES] == counted["hung", PLATFORMS] == PROBES, said
    assert "failed" not in said
    assert [line for line in said.splitlines() if line.startswith(("left", "stuck"))] == []
    assert "left" not in {key[0] for key in counted}


def test_where_an_earlier_probe_lives_no_other_is_sent(watching: Watching) -> None:
    """What cannot be killed holds the lock; so does this stand-in."""
    mark = "/var/aegir/.packmaster/probe-var-aegir-sites"
    began = int(time.time()) - 3600
    watching.bed.guest(
        "slave1",
        f"printf {began} >{mark}; setsid flock {mark} sleep 60 >/dev/null 2>&1 </dev/null & "
        f"while flock -n {mark} true; do sleep 0.1; done",
    )
    try:
        watching.look_until({("slave1", SITES): V.HUNG})
        assert watching.sample.nodes["slave1"].path(SITES).hung_since == began
        assert watching.bed.guest("slave1", "pgrep -c perl", check=False).strip() == "0"
    finally:
        watching.bed.guest("slave1", "pkill -x sleep", check=False)


def test_a_mount_that_became_read_only(watching: Watching) -> None:
    watching.bed.guest("slave1", f"mount -o remount,ro {SITES}")
    try:
        watching.look_until({("slave1", SITES): V.READ_ONLY})
    finally:
        watching.bed.guest("slave1", f"mount -o remount,rw {SITES}")


def test_another_user_id_on_one_slave(watching: Watching) -> None:
    own = "/var/aegir /var/aegir/.ssh /var/aegir/.ssh/authorized_keys /var/aegir/.packmaster"
    change = "sed -i 's/^aegir:x:{0}:/aegir:x:{1}:/' /etc/passwd && chown {1} " + own
    watching.bed.guest("slave2", change.format(5000, 5001))
    disconnect_all()
    try:
        found = watching.look_until(
            dict.fromkeys((("slave2", PLATFORMS), ("slave2", SITES)), V.IDMAP_MISMATCH)
        )
        assert "aegir 5001:5000" in found["slave2", SITES].detail
        assert "aegir 5000:5000" in found["slave2", SITES].detail
    finally:
        watching.bed.guest("slave2", change.format(5001, 5000))
        disconnect_all()


def test_the_servers_disk_is_full(watching: Watching) -> None:
    watching.bed.guest(
        "nfs1",
        f"fallocate -l 1G {DISK}/full 2>/dev/null; dd if=/dev/zero of={DISK}/full2 bs=4k; sync",
        check=False,
    )
    try:
        writers = (SERVER, ("master1", PLATFORMS), *((name, SITES) for name in watching.nodes))
        found = watching.look_until(dict.fromkeys(writers, V.READ_ONLY))
        assert "full" in found[SERVER].detail
    finally:
        watching.bed.guest("nfs1", f"rm -f {DISK}/full {DISK}/full2; sync")


def test_the_servers_disk_hangs(watching: Watching) -> None:
    """nfsd runs and answers, and whoever writes waits for ever: it is the server that is told of."""
    watching.bed.guest("nfs1", f"fsfreeze -f {DISK}")
    try:
        hung = (SERVER, *((name, SITES) for name in watching.nodes))
        found = watching.look_until(dict.fromkeys(hung, V.HUNG), alone=False)
        assert found[PATH].verdict in WORKS
        assert watching.seconds < SAMPLE_SECONDS
    finally:
        watching.bed.guest("nfs1", f"fsfreeze -u {DISK}")


def test_an_export_that_is_gone_and_a_server_that_lets_nobody_in(watching: Watching) -> None:
    address = watching.bed.addresses["slave1"]
    watching.bed.guest("nfs1", f"exportfs -u {address}:{DISK}/{SHARE}/sites")
    try:
        found = watching.look_until({SERVER: V.DENIED}, alone=False)
        assert address in found[SERVER].detail
        assert found["slave1", SITES].verdict in {V.STALE, V.DENIED}
        assert found["slave1", PLATFORMS].verdict in WORKS
        assert found["slave2", SITES].verdict in WORKS
    finally:
        watching.bed.guest("nfs1", "exportfs -r")


def test_nfsd_is_stopped_and_starts_without_its_disk(watching: Watching) -> None:
    """What is under the mount point of a disk that is not there is neither exported nor written to."""
    guest = watching.bed.guest
    guest("nfs1", "systemctl stop nfs-server")
    try:
        found = watching.look_until(dict.fromkeys(everything(watching), V.HUNG))
        assert "no nfsd runs there" in found[SERVER].detail
        assert watching.sample.controller.result == "refused"
        assert watching.seconds < SAMPLE_SECONDS
        guest("nfs1", f"umount {DISK}; mkdir -p {DISK}/{SHARE}/sites; systemctl start nfs-server")
        found = watching.look_until({SERVER: V.NOT_MOUNTED}, alone=False)
        assert DISK in found[SERVER].detail
        assert guest("nfs1", f"ls -A {DISK}/{SHARE}/sites") == ""
    finally:
        guest(
            "nfs1",
            f"systemctl stop nfs-server; rm -rf {DISK}/{SHARE}; mount {DISK}; systemctl start nfs-server",
        )
