"""A share on two servers without a common disk: copied, proven, refused, and cut short."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from tasks.errors import CommandFailed, PackmasterError, PlanRefused, Unreachable
from tasks.replication import apply, facts
from tasks.replication.doors import RECEIVER
from tasks.replication.orphans import find_orphans
from tests.nodes.machines import PackBed
from tests.nodes.replicas import MOUNT, NAME, TREES, Replica, replica

__all__ = ["replica"]

CODE, DATA = TREES
# Names and files that are somebody's, sooner or later.
NASTY = r"""
import os, struct, sys
code, data = map(os.fsencode, sys.argv[1:])
release = code + b"/blog/releases/1"
os.makedirs(release)
for n in range(200):
    with open(release + b"/%d.php" % n, "w") as file:
        file.write("<?php // %d\n" % n * 20)
    os.chown(release + b"/%d.php" % n, 5000, 5000)
os.symlink("releases/1", code + b"/blog/current")
site = data + b"/blog.example/files"
os.makedirs(site)
os.chown(site, 5000, 33)
os.chmod(site, 0o2770)
names = [b"new\nline", b"\xff\xfe not utf-8", "\u00e4\u20ac".encode(), b"-rf", b"#hash", b";semi", b" space ",
         b"\\#012", b"*?[x]", b"'quote\"", b".packmaster-inside", b"tab\there", b"+ plus", b"!bang"]
for number, name in enumerate(names):
    with open(site + b"/" + name, "wb") as file:
        file.write(name * 10)
    os.chown(site + b"/" + name, 1000 + number, 33)
    os.chmod(site + b"/" + name, 0o600 + number)
    os.utime(site + b"/" + name, ns=(1, 1600000000123456789 + number))
os.link(site + b"/-rf", site + b"/hard")
os.symlink("/etc/passwd", site + b"/absolute")
os.symlink("nowhere", site + b"/dangling")
os.lchown(site + b"/dangling", 5000, 33)
os.mkfifo(site + b"/fifo")
os.mkdir(site + b"/empty", 0o1770)
os.setxattr(site + b"/hard", "user.origin", b"upload\0\xff")
acl = [(1, 6, -1), (2, 7, 5000), (4, 4, -1), (16, 7, -1), (32, 0, -1)]
os.setxattr(site + b"/+ plus", "system.posix_acl_access",
            struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in acl))
"""


@pytest.fixture(scope="module")
def copied(replica: Replica) -> Replica:
    """Both servers have what the first one was given."""
    replica.bed.guest("nfs1", f"python3 - {' '.join(TREES)}", stdin=NASTY)
    plan = replica.plan()
    assert plan.adopts == TREES
    assert len(plan.prepares) == 2
    proof, figures = replica.sync()
    assert (proof.sequence, figures.files) == (1, 214)
    return replica


def test_everything_arrives_as_it_is(copied: Replica) -> None:
    copied.assert_same()
    assert facts.list_unlike(copied.primary, copied.standby, copied.share) == ()
    kept = copied.bed.guest("nfs2", f"stat -c '%u:%g %a' {DATA}/blog.example/files")
    assert kept == "5000:33 2770\n"


def test_a_second_copy_moves_nothing_but_its_proof(copied: Replica) -> None:
    before, touched = copied.snapshot("nfs2"), f"find {CODE}/blog {DATA}/blog.example -printf '%C@ %i\\n'"
    inodes = copied.bed.guest("nfs2", touched)
    plan = copied.plan()
    assert (plan.prepares, plan.adopts) == ((), ())
    proof, figures = copied.sync()
    assert figures == apply.Figures(size=figures.size)
    assert copied.proof() == proof
    assert copied.snapshot("nfs2") == before
    assert copied.bed.guest("nfs2", touched) == inodes


def test_what_changes_follows_and_what_goes_goes(copied: Replica) -> None:
    files = f"{DATA}/blog.example/files"
    copied.bed.guest("nfs1", f"cd {files}; rm -- -rf; mv fifo pipe; echo new >added; chmod 0711 empty")
    unlike = facts.list_unlike(copied.primary, copied.standby, copied.share)
    names = {one.path.rpartition(b"/")[2]: one.vanishes for one in unlike}
    assert names == {b"-rf": True, b"fifo": True, b"pipe": False, b"added": False, b"empty": False}
    _, figures = copied.sync()
    assert (figures.files, figures.deleted) == (1, 2)
    copied.assert_same()


def test_what_is_written_again_within_the_second_of_its_copy_follows(copied: Replica) -> None:
    note, dated = f"{DATA}/blog.example/files/note", "touch -d '2026-01-01 12:00:00.{}'"
    copied.bed.guest("nfs1", f"echo one >{note}; {dated.format('100')} {note}")
    copied.sync()
    copied.bed.guest("nfs1", f"echo two >{note}; {dated.format('200')} {note}")
    for listed in (facts.list_differences, facts.list_unlike):
        (found,) = listed(copied.primary, copied.standby, copied.share)
        assert found.name == "blog.example/files/note"
    copied.sync()
    copied.assert_same()


def test_the_key_opens_nothing_else(copied: Replica) -> None:
    """Whoever has it can neither run a command, nor read, nor leave the two directories."""
    folder = f"/var/lib/packmaster/sync/{NAME}"
    address = copied.bed.addresses["nfs2"]
    ssh = (
        f"ssh -F /dev/null -i {folder}/id_ed25519 -o UserKnownHostsFile={folder}/known_hosts -o BatchMode=yes"
    )
    for attempt in (
        f"{ssh} root@{address} id",
        f"rsync -e '{ssh} -l root' {address}::data/blog.example/files/hard /tmp/stolen",
        f"rsync -e '{ssh}' /etc/hostname root@{address}:/etc/packmaster-was-here",
        f"{ssh.replace('ssh', 'scp', 1)} /etc/hostname root@{address}:/srv/escaped",
    ):
        said = copied.bed.guest("nfs1", f"timeout 20 {attempt} </dev/null 2>&1; echo status $?")
        assert "uid=0" not in said
        assert "root:" not in said
        assert not said.endswith("status 0\n"), f"{attempt}: {said}"
    # To the daemon, the top of a tree is the top of everything.
    copied.bed.guest("nfs1", f"rsync -e '{ssh} -l root' /etc/hostname {address}::data/../../escaped || :")
    found = copied.bed.guest(
        "nfs2", f"ls -d /etc/packmaster-was-here {MOUNT}/escaped /srv/escaped 2>/dev/null || :"
    )
    assert found == ""
    assert "PRIVATE" not in copied.bed.guest("nfs2", f"cat {folder}/* /root/.ssh/authorized_keys")
    assert copied.bed.guest("nfs1", f"stat -c %a {folder} {folder}/id_ed25519") == "700\n600\n"


@pytest.mark.parametrize("kind", ["spare", "trash"])
def test_what_a_node_tidies_up_is_its_servers_own(copied: Replica, kind: str) -> None:
    """A node does so while its release is copied: rsync hung when hard links moved."""
    spare = f"{CODE}/blog/releases/.{{}}-20260102030405-0123456789ab"
    copied.bed.guest("nfs1", f"cp -al {CODE}/blog/releases/1 {spare.format(kind)}")
    copied.bed.guest("nfs2", f"mkdir {spare.format('making')}")
    try:
        assert copied.sync()[1].files == 0
        there = copied.bed.guest("nfs2", f"ls -A {CODE}/blog/releases").split()
        assert there == [spare.format("making").rpartition("/")[2], "1"]
    finally:
        copied.bed.guest("nfs2", f"rmdir {spare.format('making')}")
        copied.bed.guest("nfs1", f"rm -r {spare.format(kind)}")
    copied.sync()
    copied.assert_same()


def test_nothing_goes_the_wrong_way(copied: Replica) -> None:
    """Refused by the plan, and, for a controller that is mistaken, by the receiver itself."""
    before, plan = copied.snapshot("nfs2"), copied.plan()
    copied.bed.guest("nfs1", f"echo late >{DATA}/late")
    try:
        for epoch, role in ((2, "primary"), (1, "taking-over")):
            copied.record("nfs2", epoch, role)
            with pytest.raises(PlanRefused, match="wrong way"):
                copied.plan()
            with pytest.raises(CommandFailed, match=f"takes nothing in for share {NAME}: it is its {role}"):
                copied.sync(plan=plan)
    finally:
        copied.record("nfs2", 0, "")
        copied.bed.guest("nfs1", f"rm -f {DATA}/late")
    copied.bed.guest("nfs2", f"exportfs -o rw,fsid=9 192.0.2.9:{DATA}")
    try:
        with pytest.raises(PlanRefused, match="the standby nfs2 exports"):
            copied.plan()
        with pytest.raises(CommandFailed, match="it exports it"):
            copied.sync(plan=plan)
    finally:
        copied.bed.guest("nfs2", f"exportfs -u 192.0.2.9:{DATA}")
    assert copied.snapshot("nfs2") == before


def test_a_disk_that_is_not_mounted_destroys_nothing(copied: Replica) -> None:
    """What lies beneath is an empty directory, and a copy of that would take everything away."""
    before, plan = copied.snapshot("nfs2"), copied.plan()
    for name in ("nfs1", "nfs2"):
        copied.bed.guest(name, f"umount {MOUNT}; mkdir -p {CODE} {DATA}")
        try:
            with pytest.raises(
                PlanRefused, match=f"on {name} the disk {MOUNT} of share {NAME} is not mounted"
            ):
                copied.plan()
            with pytest.raises(CommandFailed, match="not mounted"):
                copied.sync(plan=plan)
            if name == "nfs1":
                with pytest.raises(PlanRefused, match="is newer than what lies on nfs1"):
                    replace(copied, share=replace(copied.share, disk="")).plan()
        finally:
            copied.bed.guest(name, f"rm -r {MOUNT}/{NAME}; mount /dev/ubdb {MOUNT}")
    assert copied.snapshot("nfs2") == before


def test_a_full_standby_keeps_what_it_had(copied: Replica) -> None:
    proof, plan = copied.proof(), copied.plan()
    copied.bed.guest("nfs1", f"head -c 5M /dev/urandom >{DATA}/video")
    copied.bed.guest(
        "nfs2", f"fallocate -l $(($(df -B1 --output=avail {MOUNT} | tail -1) - 3145728)) {MOUNT}/filler"
    )
    try:
        with pytest.raises(PlanRefused, match="is full: 3 MiB are free"):
            copied.plan()
        with pytest.raises(CommandFailed, match="where a write failed; is its disk full"):
            copied.sync(plan=plan)
        assert copied.proof() == proof
    finally:
        copied.bed.guest("nfs2", f"rm {MOUNT}/filler")
    copied.sync()


def test_a_standby_that_only_its_server_cannot_reach_is_named(
    copied: Replica, breakable_pack: PackBed
) -> None:
    plan = copied.plan()
    breakable_pack.reject_port("nfs2", 22, breakable_pack.addresses["nfs1"])
    with pytest.raises(Unreachable, match="nfs2 cannot be reached: from nfs1, which copies share"):
        copied.sync(plan=plan)
    breakable_pack.restore("nfs2")
    assert copied.sync()[0].sequence == plan.sequence + 1


def test_killed_in_the_middle_it_leaves_the_last_proof_and_converges(copied: Replica) -> None:
    proof = copied.proof()
    copied.bed.guest("nfs1", f"head -c 12M /dev/urandom >{DATA}/upload; rm {DATA}/video")
    failed: list[PackmasterError] = []

    def sync() -> None:
        try:
            copied.sync()
        except PackmasterError as killed:
            failed.append(killed)

    thread = threading.Thread(target=sync)
    thread.start()
    arrives = f"until ls -A {DATA} | grep -q '^.upload.'; do sleep 0.02; done"
    copied.bed.guest("nfs2", f"{arrives}; pkill -KILL -x rsync", timeout=30)
    thread.join(60)
    assert failed
    assert copied.proof() == proof
    assert copied.bed.guest("nfs2", f"ls {DATA}/video"), "what is gone goes last"
    # One that a controller left behind, and that never ends by itself.
    lock = f"/run/packmaster/copy-{NAME}.lock"
    copied.bed.guest("nfs1", f"setsid flock -x {lock} sleep 600 </dev/null >/dev/null 2>&1 &")
    copied.sync()
    copied.assert_same()
    assert (
        copied.bed.guest("nfs2", f"find {MOUNT}/{NAME} -name .packmaster-partial -o -name '.upload*'") == ""
    )


def test_what_the_old_server_alone_has_is_listed_saved_and_taken_away(copied: Replica) -> None:
    """nfs1 was written to after its last copy, and nfs2 took over, and was written to, too."""
    files = f"{DATA}/blog.example/files"
    proof, _ = copied.sync()
    copied.bed.guest("nfs1", f"cd {files}; echo orphan >'only\nhere'; echo mine >added; mkdir d; mv hard d/")
    copied.bed.guest("nfs2", f"cd {files}; echo new >theirs; rm ./*plus; touch -d @1 ../files/'#hash'")
    copied.record("nfs1", 1, "fenced")
    copied.record("nfs2", 2, "primary")
    back = copied.turned()
    try:
        with pytest.raises(PlanRefused, match="Run rejoin-standby"):
            back.plan()
        here = facts.read_side(back.primary, back.standby, back.share)
        there = facts.read_side(back.standby, back.primary, back.share)
        plan = back.plan("rejoin")
        ends = ((back.primary, here), (back.standby, there))
        apply.prepare_way(*ends, back.share, plan, back.primary.address)
        listed = facts.list_differences(back.primary, back.standby, back.share)
        orphans = find_orphans(listed, replace(proof, started=proof.started + 119))
        names = {one.path.removeprefix(b"blog.example/files/"): one.vanishes for one in orphans}
        assert names == {b"only\nhere": True, b"added": False, b"d": True, b"d/hard": True}
        saved = apply.save_aside(back.standby, back.share, orphans, "20261123T000000Z")
        apply.sync_trees(back.primary, back.standby, back.share, plan, proof.started + 200)
        back.assert_same()
        aside = f"{saved['data']}/blog.example/files"
        kept = copied.bed.guest(
            "nfs1", f"cd {aside}; find . -type f | sort | tr '\\n' ' '; cat added; stat -c %u d/hard"
        )
        assert kept == "./added ./d/hard ./only here mine\n1003\n"
        assert not saved["data"].startswith(f"{DATA}/")
        assert facts.list_differences(back.primary, back.standby, back.share) == ()
        assert RECEIVER in copied.bed.guest("nfs1", "cat /root/.ssh/authorized_keys")
        assert NAME not in copied.bed.guest("nfs2", "cat /root/.ssh/authorized_keys")
    finally:
        for name in ("nfs1", "nfs2"):
            copied.record(name, 0, "")
