"""The machines of a pack are what the other tests believe them to be: real kernels, real NFS, real boots."""

import platform
import time
from collections.abc import Iterator

import pytest

from tasks.fleet import Node
from tasks.servers import desired_server, plan_server
from tasks.servers.facts import read_facts
from tests.nodes.conftest import KEEP
from tests.nodes.machines import BOOT_ID, MACHINES, PackBed

FILES = 962
FILES_SECONDS = 25
"""Two to three seconds on an idle machine; with packets held back, it takes more than half a minute."""
EXPORT, MOUNT = "/srv/bed", "/mnt/bed"
WEB = {"master1": "apache2", "slave1": "apache2", "slave2": "nginx"}
SERVICES = ("php8.2-fpm", "nfs-server", "rpcbind", "apache2", "nginx")


@pytest.fixture(scope="module")
def shared(pack_bed: PackBed) -> Iterator[str]:
    """The second disk of nfs1, exported by hand and mounted on slave1; taken down again afterwards."""
    pack_bed.guest(
        "nfs1",
        f"mkdir -p {EXPORT} /etc/exports.d && mount /dev/ubdb {EXPORT} && chmod 0777 {EXPORT} && "
        f"echo '{EXPORT} {pack_bed.addresses['slave1']}(rw,sync,no_subtree_check,mountpoint)' "
        ">/etc/exports.d/bed.exports && systemctl start nfs-server && exportfs -r",
    )
    server = pack_bed.addresses["nfs1"]
    options = "vers=4.2,hard,retry=0"
    pack_bed.guest("slave1", f"mkdir -p {MOUNT} && mount -t nfs -o {options} {server}:{EXPORT} {MOUNT}")
    yield MOUNT
    pack_bed.guest("slave1", f"umount -f -l {MOUNT}; rmdir {MOUNT}", check=False)
    pack_bed.guest(
        "nfs1",
        "rm /etc/exports.d/bed.exports; rmdir /etc/exports.d; exportfs -r; systemctl stop nfs-server; "
        f"rm -rf {EXPORT}/a {EXPORT}/b {EXPORT}/many; umount {EXPORT}; rmdir {EXPORT}",
        check=False,
    )


@pytest.mark.parametrize("name", MACHINES)
def test_it_is_a_machine_of_its_own(pack_bed: PackBed, name: str) -> None:
    before = time.time()
    said = pack_bed.guest(
        name,
        "date +%s.%N; uname -nr; cat /proc/1/comm; modprobe -a nfs nfsd; grep -c nfs /proc/filesystems; "
        "systemctl is-system-running; nproc; awk '/MemTotal/ { print $2 }' /proc/meminfo",
    )
    now, kernel, init, nfs, state, processors, memory = said.splitlines()
    assert before - 1 < float(now) < time.time() + 1
    assert kernel.split()[0] == name
    assert kernel.split()[1] != platform.release()
    assert (init, state, processors) == ("systemd", "running", "1")
    assert int(nfs) >= 2
    assert 200_000 < int(memory) < 262_144


@pytest.mark.parametrize("name", MACHINES)
def test_nothing_is_set_up_on_it(pack_bed: PackBed, name: str) -> None:
    if KEEP and pack_bed.guest(name, "getent passwd aegir", check=False):
        pytest.skip(f"{name} was kept from another session, which has prepared it")
    installed = {WEB[name], "php8.2-fpm"} if name in WEB else {"nfs-server"}
    said = pack_bed.guest(
        name,
        f"for service in {' '.join(SERVICES)}; do [ ! -e /lib/systemd/system/$service.service ] || "
        'echo "$service $(systemctl is-enabled $service) $(systemctl is-active $service)"; done; '
        "getent passwd aegir; ls /var/aegir /etc/exports.d; mount | grep -e nfs -e ubdb; "
        "for program in rsync sudo mount.nfs4; do command -v $program; done",
    )
    lines = said.splitlines()
    assert lines[-3:] == ["/usr/bin/rsync", "/usr/bin/sudo", "/usr/sbin/mount.nfs4"]
    assert set(lines[:-3]) == {f"{service} disabled inactive" for service in installed | {"rpcbind"}}


def test_a_file_goes_over_nfs_and_many_go_fast(pack_bed: PackBed, shared: str) -> None:
    mounts = pack_bed.guest("slave1", f"grep {shared} /proc/mounts")
    assert " nfs4 " in mounts
    assert f"addr={pack_bed.addresses['nfs1']}" in mounts
    pack_bed.guest("slave1", f"echo from the slave >{shared}/a && mkdir {shared}/many")
    assert pack_bed.guest("nfs1", f"cat {EXPORT}/a") == "from the slave\n"
    started = time.monotonic()
    pack_bed.guest("slave1", f"cd {shared}/many && for i in $(seq {FILES}); do echo $i >$i; done && sync")
    took = time.monotonic() - started
    assert took < FILES_SECONDS
    assert pack_bed.guest("nfs1", f"cat {EXPORT}/many/* | sort -n | uniq | wc -l").strip() == str(FILES)


def test_a_dropped_port_hangs_and_a_rejected_one_does_not(breakable_pack: PackBed, shared: str) -> None:
    slave = breakable_pack.addresses["slave1"]
    probe = f"timeout 3 bash -c 'exec 3<>/dev/tcp/{breakable_pack.addresses['nfs1']}/2049' 2>&1; echo $?"
    breakable_pack.drop_port("nfs1", 2049, slave)
    assert breakable_pack.guest("slave1", probe) == "124\n"
    assert breakable_pack.guest("slave2", probe) == "0\n"
    stat = f"stat {shared}/not-there >/dev/null 2>&1 & sleep 2; kill -0 $! && echo hangs"
    assert breakable_pack.guest("slave1", stat) == "hangs\n"
    breakable_pack.restore("nfs1")
    breakable_pack.reject_port("nfs1", 2049)
    assert "refused" in breakable_pack.guest("slave1", probe)
    breakable_pack.restore("nfs1")
    assert breakable_pack.guest("slave1", f"echo again >{shared}/b && cat {shared}/b") == "again\n"


def test_a_reboot_and_a_power_cut_keep_the_disk_and_the_host_key(breakable_pack: PackBed) -> None:
    """A new boot each time; the pinned host key is what the login is checked with."""
    boots = {breakable_pack.guest("slave2", f"{BOOT_ID}; touch /srv/kept; sync")}
    for cut in (False, True):
        if cut:
            breakable_pack.power_off("slave2")
            breakable_pack.power_on("slave2")
        else:
            breakable_pack.reboot("slave2")
        boots.add(breakable_pack.guest("slave2", BOOT_ID))
        assert breakable_pack.guest("slave2", "ls /srv; systemctl is-system-running") == "kept\nrunning\n"
    assert len(boots) == 3
    breakable_pack.guest("slave2", "rm /srv/kept")


def test_what_was_not_written_to_the_disk_is_lost_with_the_power_only(breakable_pack: PackBed) -> None:
    breakable_pack.guest("nfs2", "echo early >/srv/early; sync; echo late >/srv/late")
    breakable_pack.power_off("nfs2")
    breakable_pack.power_on("nfs2")
    assert breakable_pack.guest("nfs2", "cat /srv/early; cat /srv/late 2>/dev/null || :") == "early\n"
    breakable_pack.guest("nfs2", "echo late >/srv/late")
    breakable_pack.switch_off("nfs2")
    breakable_pack.power_on("nfs2")
    assert (
        breakable_pack.guest("nfs2", "cat /srv/early /srv/late; rm /srv/early /srv/late") == "early\nlate\n"
    )


def test_what_prepare_server_does_for_a_container_it_does_for_a_machine_with_systemd(
    prepared_pack: tuple[Node, ...], pack_bed: PackBed
) -> None:
    """The last test here: none of the others would find bare machines after it."""
    for node in prepared_pack:
        services = f"{WEB[node.name]} php8.2-fpm"
        said = pack_bed.guest(node.name, f"systemctl is-enabled {services}; systemctl is-active {services}")
        assert said.split() == ["enabled", "enabled", "active", "active"]
    node = prepared_pack[-1]
    desired = desired_server(node)
    assert not plan_server(desired, read_facts(node, desired))
