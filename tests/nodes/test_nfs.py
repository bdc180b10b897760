"""provision-pack with real NFS: exported as asked, mounted as asked, and put right where it is not."""

from __future__ import annotations

import time

import pytest

from flows.provision_pack import provision_pack
from tasks.errors import PlanRefused
from tasks.nfs.apply import apply_plan
from tests.nodes.fleet import change_nothing, fail, succeed, wait_until
from tests.nodes.machines import PackBed
from tests.nodes.nfs_pack import CODE, DATA, DISK, NfsPack, register
from tests.nodes.provided import FOREIGN_EXPORTS, FOREIGN_FSTAB, NODES, pack, provided

__all__ = ["pack", "provided"]

SLOW_STAT = """#!/bin/sh
case $1 in */.packmaster-none-*) printf 'stat: ' >&2; sleep 0.5 ;; esac
exec /usr/bin/stat "$@"
"""


def test_a_second_run_changes_nothing(provided: NfsPack) -> None:
    with provided.untouched():
        change_nothing(provision_pack, pack=provided.pack)


def test_an_answer_that_comes_in_pieces_is_waited_for(provided: NfsPack) -> None:
    """stat writes an error in three; read after the first, every mount was to be made anew."""
    provided.bed.guest("slave2", "install -m 755 /dev/stdin /usr/local/sbin/stat", stdin=SLOW_STAT)
    try:
        assert not provided.plan()
    finally:
        provided.bed.guest("slave2", "rm /usr/local/sbin/stat")


def test_every_node_mounts_with_the_options_asked(provided: NfsPack) -> None:
    server = provided.bed.addresses["nfs1"]
    for name in NODES:
        code, data = (provided.mounts(name)[point] for point in (CODE, DATA))
        assert f" nfs4 {server}:{DISK}/blogs/platforms " in code
        assert f" nfs4 {server}:{DISK}/blogs/sites " in data
        for options in (code, data):
            for option in ("noatime", "vers=4.2", f"addr={server}", "proto=tcp"):
                assert option in options
        assert data.startswith("rw,")
        assert ",hard," in data
        if name == "master1":
            assert code.startswith("rw,")
            assert ",hard," in code
        else:
            assert code.startswith("ro,")
            assert ",softerr," in code
            assert ",timeo=50,retrans=2," in code


def test_the_server_exports_to_each_node_what_it_may(provided: NfsPack) -> None:
    lines = provided.bed.guest("nfs1", "exportfs -s").splitlines()
    ours = {tuple(line.split("(")[0].split()): line for line in lines if DISK in line}
    wanted = {
        (f"{DISK}/blogs/{kind}", provided.bed.addresses[name]): kind == "sites" or name == "master1"
        for kind in ("platforms", "sites")
        for name in NODES
    }
    assert set(ours) == set(wanted)
    for key, writable in wanted.items():
        options = ours[key].partition("(")[2].rstrip(")").split(",")
        always = {"sync", "root_squash", "no_subtree_check", "sec=sys", "secure", f"mountpoint={DISK}"}
        assert always | {"rw" if writable else "ro"} <= set(options)
    fsids = {word for line in ours.values() for word in line.split(",") if word.startswith("fsid=")}
    assert len(fsids) == 2
    kernel = provided.bed.guest("nfs1", "cat /proc/fs/nfsd/exports")
    for (path, client), writable in wanted.items():
        assert f"{path}\t{client}({'rw' if writable else 'ro'},root_squash,sync," in kernel


def test_the_standby_is_ready_and_exports_nothing(provided: NfsPack) -> None:
    bed = provided.bed
    assert bed.guest("nfs2", f"stat -c %U:%G:%a {DISK}/blogs/sites") == "aegir:aegir:711\n"
    assert bed.guest("nfs2", "cat /var/lib/nfs/etab /etc/exports.d/* 2>/dev/null || :") == ""


def test_what_others_wrote_is_as_they_left_it(provided: NfsPack) -> None:
    fstab = provided.bed.guest("slave1", "cat /etc/fstab")
    assert FOREIGN_FSTAB.replace("\\n", "\n").replace("\\t", "\t") + "\n" in fstab
    assert provided.bed.guest("nfs1", "cat /etc/exports.d/other.exports") == f"{FOREIGN_EXPORTS}\n"


def test_many_small_files_go_through_a_mount_quickly(provided: NfsPack) -> None:
    write = "mkdir many; for i in $(seq 962); do echo $i >many/$i; done"
    started = time.monotonic()
    provided.bed.guest("master1", f"cd {CODE}; su aegir -s /bin/sh -c '{write}'", timeout=60)
    seconds = time.monotonic() - started
    assert provided.bed.guest("slave2", f"ls {CODE}/many | wc -l; cat {CODE}/many/962") == "962\n962\n"
    provided.bed.guest("master1", f"su aegir -s /bin/sh -c 'rm -r {CODE}/many'")
    # 36 s where the network holds segments back; 3 s on a quiet machine.
    assert seconds < 25, seconds


def test_a_time_that_is_set_on_a_node_is_seen_by_all(provided: NfsPack) -> None:
    """rsync sets those of every release and upload; a client with a delegation kept them to itself."""
    set_it = f"cd {DATA}; echo x >dated; touch -d @1577836800.5 dated"
    provided.bed.guest("master1", f"su aegir -s /bin/sh -c '{set_it}'")
    seen = [provided.bed.guest(name, f"su aegir -s /bin/sh -c 'cat {DATA}/dated'") for name in NODES]
    assert seen == ["x\n"] * 3
    for name, folder in (("slave1", DATA), ("nfs1", f"{DISK}/blogs/sites"), ("master1", DATA)):
        said = provided.bed.guest(name, f"su aegir -s /bin/sh -c 'stat -c %.1Y {folder}/dated'")
        assert said == "1577836800.5\n", name
    provided.bed.guest("master1", f"su aegir -s /bin/sh -c 'rm {DATA}/dated'")


def test_an_export_that_was_changed_is_put_right_and_one_made_by_hand_stays(provided: NfsPack) -> None:
    bed, slave = provided.bed, provided.bed.addresses["slave1"]
    bed.guest("nfs1", "exportfs -i -o ro,no_subtree_check 192.0.2.201:/home")
    bed.guest("nfs1", f"exportfs -i -o rw,no_root_squash,fsid=77 {slave}:{DISK}/blogs/platforms; exportfs -f")
    bed.guest("nfs1", f"exportfs -i -o anonuid=0 {slave}:{DISK}/blogs/sites; exportfs -f")
    bed.guest("nfs1", f"exportfs -i -o ro,no_subtree_check 192.0.2.202:{DISK}/blogs/sites")
    said = fail(provision_pack, pack=provided.pack)
    assert "exportfs -u 192.0.2.202:" in said
    bed.guest("nfs1", f"exportfs -u 192.0.2.202:{DISK}/blogs/sites")
    bed.guest("slave1", f"mount -o remount,ro {DATA} || umount -l {DATA}")
    outcomes = succeed(provision_pack, pack=provided.pack)
    assert {o.host for o in outcomes.changed} == {"nfs-nfs1", "nfs-slave1"}
    exported = bed.guest("nfs1", "exportfs -s")
    assert "192.0.2.201" in exported
    assert "no_root_squash" not in exported
    assert "anonuid=0" not in exported
    assert provided.mounts("slave1")[DATA].startswith("rw,")
    assert not provided.plan()
    bed.guest("nfs1", "exportfs -u 192.0.2.201:/home")


def test_a_mount_from_another_server_is_replaced_while_it_is_in_use(provided: NfsPack) -> None:
    bed = provided.bed
    other = f"{bed.addresses['nfs1']}:{DISK}/blogs/sites"
    bed.guest("slave2", f"umount {CODE}; mount -t nfs -o ro,vers=4.2,retry=0 {other} {CODE}")
    before = bed.guest("slave2", "systemctl show --property=MainPID --value php8.2-fpm nginx")
    plan = provided.plan()
    (work,) = [each for each in plan.phases if each]
    assert work.host == "nfs-slave2"
    assert "mounted from" in str(work)
    node = next(node for node in provided.target.nodes if node.name == work.host)
    # Somebody who stands in it does not keep it from being said whose fault it is.
    holder = f"cd {CODE}; nohup sleep 600 >/dev/null 2>&1 &"
    bed.guest("slave2", holder)
    with pytest.raises(Exception, match="sleep"):
        apply_plan(node, work, "mount share")
    assert other in provided.mounts("slave2")[CODE]
    assert bed.guest("slave2", "systemctl is-active php8.2-fpm nginx") == "active\nactive\n"
    bed.guest("slave2", "pkill sleep; sleep 0.2")
    assert apply_plan(node, work, "mount share").changed
    assert not provided.plan()
    after = bed.guest("slave2", "systemctl show --property=MainPID --value php8.2-fpm nginx")
    assert before.split()[1] == after.split()[1]


def test_a_node_with_data_beneath_the_mount_is_refused_and_the_others_are_not(provided: NfsPack) -> None:
    bed = provided.bed
    bed.guest("slave1", f"umount {DATA}; echo precious >{DATA}/kept")
    said = fail(provision_pack, pack=provided.pack)
    assert "nfs-slave1: plan mounts" in said
    assert "nfs-slave2" not in said
    assert DATA not in provided.mounts("slave1")
    assert bed.guest("slave1", f"cat {DATA}/kept; rm {DATA}/kept") == "precious\n"
    # Beneath a mount that is there, too.
    bed.guest("slave1", f"mkdir -m 700 {DATA}/hidden; mount {DATA}")
    plan = provided.plan()
    ((host, why),) = plan.refused
    assert (host, "hidden" in why) == ("nfs-slave1", True)
    bed.guest("slave1", f"umount {DATA}; rmdir {DATA}/hidden; mount {DATA}")
    assert not provided.plan()


def test_a_server_that_does_not_answer_is_told_apart_within_seconds(
    provided: NfsPack, breakable_pack: PackBed
) -> None:
    breakable_pack.drop_port("nfs1", 2049)
    for _ in range(2):
        started = time.monotonic()
        plan = provided.plan()
        assert time.monotonic() - started < 40
        assert {host for host, why in plan.refused if "does not answer" in why} == {f"nfs-{n}" for n in NODES}
    stuck = breakable_pack.guest("slave1", "ps -eo stat,args | grep -c '^D.*packmaster-none' || :")
    assert int(stuck) <= 2, "one a mount, however often it is asked"
    breakable_pack.restore("nfs1")
    wait_until(lambda: not provided.plan().refused, 180)


def test_a_disk_that_is_not_mounted_is_not_exported(provided: NfsPack) -> None:
    other = register(provided.bed, disk="/srv/none", code_path="/srv/none/a", data_path="/srv/none/b")
    with pytest.raises(PlanRefused, match="nothing is mounted at /srv/none"):
        other.plan()
    register(provided.bed)
    assert provided.bed.guest("nfs1", "ls -d /srv/none 2>/dev/null || :") == ""


def test_ids_that_differ_are_refused_and_changed_only_when_asked(provided: NfsPack) -> None:
    bed = provided.bed
    bed.guest(
        "slave2",
        f"umount {CODE} {DATA}; groupmod -g 6002 aegir; usermod -u 6001 aegir; chown 6001:6002 /var/aegir",
    )
    bed.guest(
        "slave2",
        "install -d -o aegir -g aegir /var/aegir/config; touch /var/aegir/config/x; chown aegir:aegir "
        "/var/aegir/config/x",
    )
    old = f"{DISK}/blogs/sites/old"
    bed.guest("nfs1", f"groupmod -g 6012 aegir; usermod -u 6011 aegir; touch {old}; chown 6011:6012 {old}")
    with pytest.raises(PlanRefused) as refused:
        provided.plan(uid=5000, gid=5000)
    for word in ("nfs-slave2: aegir 6001:6002", "nfs-master1: aegir 5000:5000", "usermod -u 5000", "fix_ids"):
        assert word in str(refused.value)
    assert "nfs-nfs1: aegir 6011:6012" in str(refused.value)
    outcomes = succeed(provision_pack, pack=provided.pack, fix_ids=True)
    assert {o.host for o in outcomes.changed} == {"nfs-slave2", "nfs-nfs1"}
    for name, file in (("slave2", "/var/aegir/config/x"), ("nfs1", old)):
        ids = bed.guest(name, f"id -u aegir; id -g aegir; stat -c %u:%g {file}").split()
        assert ids == ["5000", "5000", "5000:5000"], name
    bed.guest("nfs1", f"rm {old}")
    assert not provided.plan()


def test_a_share_is_mounted_from_an_address_of_a_storage_network(provided: NfsPack) -> None:
    bed = provided.bed
    usual = bed.addresses["nfs1"]
    other = f"{usual.rpartition('.')[0]}.161"
    device = bed.guest("nfs1", f"ip -o addr | awk '/ {usual}\\// {{ print $2 }}'").strip()
    bed.guest("nfs1", f"ip addr add {other}/24 dev {device}")
    try:
        for mount_address, address in ((other, other), ("", usual)):
            moved = register(bed, mount_address=mount_address)
            succeed(provision_pack, pack=moved.pack)
            for name in NODES:
                assert all(f" {address}:{DISK}" in line for line in moved.mounts(name).values()), name
                assert all(f"addr={address}," in f"{line}," for line in moved.mounts(name).values()), name
            change_nothing(provision_pack, pack=moved.pack)
    finally:
        bed.guest("nfs1", f"ip addr del {other}/24 dev {device}")
