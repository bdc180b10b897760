"""What look.sh and rsync print, read."""

from __future__ import annotations

import base64
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.fencing.record import Record, Role
from tasks.replication.apply import Figures, parse_figures
from tasks.replication.doors import door_line, known_hosts_file, receiver_files
from tasks.replication.facts import parse_differences, parse_side, parse_unlike
from tests.replication.scene import ADDRESS, KEY, PATHS, SHARE, TWO, proof

LISTED = rb"""<f.st...... blog/index.php
<f+++++++++ only the source has it
cL..t...... link
.d..t...... blog/
.f...p..... only its mode differs
hf.st...... became a link
*deleting   gone\#012with a line\#134#012 and spaces
*deleting   folder/
*deleting     two spaces
cd+++++++++ new/
Number of files: 7 (reg: 4, dir: 3)
<f..T...... it has another time only
"""
STATS = """
Number of files: 15 (reg: 10, dir: 5)
Number of created files: 1 (reg: 1)
Number of deleted files: 2 (reg: 1, special: 1)
Number of regular files transferred: 1,202
Total file size: 9,000 bytes
Total transferred file size: 1234567 bytes
Literal data: 9 bytes
"""


def encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_differences_are_what_the_destination_would_lose() -> None:
    found = {one.path: (one.kind, one.vanishes) for one in parse_differences("data", LISTED)}
    assert found == {
        b"blog/index.php": ("file", False),
        b"link": ("file", False),
        b"became a link": ("file", False),
        b"gone\nwith a line\\#012 and spaces": ("file", True),
        b"folder": ("directory", True),
        b"  two spaces": ("file", True),
        b"it has another time only": ("file", False),
    }


def test_a_copy_that_lacks_something_is_not_like_its_source() -> None:
    found = {one.path: one.vanishes for one in parse_unlike("data", LISTED)}
    lost = {one.path: one.vanishes for one in parse_differences("data", LISTED)}
    assert found == lost | {b"only the source has it": False, b"new": False, b"only its mode differs": False}
    assert parse_unlike("data", b".d..t...... ./\n.d..t...... blog/\n\nNumber of files: 7\n") == ()
    assert parse_unlike("data", b".d...pog... blog/\n")[0].path == b"blog"


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=1, max_size=30).filter(lambda name: b"/" not in name and b"\0" not in name))
def test_any_name_is_read_back(name: bytes) -> None:
    """As rsync does: what cannot be printed is \\#ooo, and so is a backslash that would look like one."""
    printed = b"".join(
        b"\\#%03o" % byte
        if byte < 0x20 or byte > 0x7E or (byte == 0x5C and name[place + 1 : place + 2] == b"#")
        else bytes([byte])
        for place, byte in enumerate(name)
    )
    (one,) = parse_differences("data", b"<f.st...... " + printed)
    assert one.path == name


def test_the_token_is_not_counted() -> None:
    assert parse_figures(STATS) == Figures(1201, 2, 1234567)
    assert parse_figures("") == Figures()
    assert str(parse_figures(STATS) + Figures(1)) == "1202 files (1.2 MiB) sent, 2 taken away"


def test_a_side_is_read() -> None:
    text = "\n".join(
        [
            f"record\t{encode('epoch 3' + chr(10) + 'role standby' + chr(10) + 'peer 192.0.2.61')}",
            "disk\trw",
            "rsync\tyes",
            f"table\t{encode('/srv/disk/sites 192.0.2.71(rw,sync)')}",
            f"tree\t{PATHS[0]}\tdirectory\tno\t4096\t1000\t400\t500\t100",
            f"token\t{PATHS[0]}\t{encode(proof(7).as_text())}",
            f"tree\t{PATHS[1]}\tlink\tyes\t4096\t1000\t400\t500\t100",
            f"token\t{PATHS[1]}\t{encode('damaged')}",
            f"key\t{KEY}",
            'door\trestrict,command="x y" ssh-ed25519 AAAA packmaster-sync-files',
            "file\t/usr/local/sbin/packmaster-receive\tabc",
            "unknown\tword",
        ]
    )
    side = parse_side("nfs2", text)
    assert side.record == Record(3, Role.STANDBY, "192.0.2.61")
    assert (side.disk, side.has_rsync, side.public_key) == ("rw", True, KEY)
    assert side.tree(PATHS[0]).token == proof(7)
    assert (side.tree(PATHS[0]).free_bytes, side.tree(PATHS[0]).used_inodes) == (400 * 4096, 400)
    assert (side.tree(PATHS[1]).kind, side.tree(PATHS[1]).token) == ("link", None)
    assert side.proof(SHARE) is None
    assert len(side.doors) == 1
    assert side.exports(SHARE) == ("/srv/disk/sites to 192.0.2.71 (rw,sync)",)
    assert parse_side("nfs2", "").state(SHARE).proof is None


def test_a_door_is_one_program_for_one_address() -> None:
    assert door_line(SHARE, TWO, ADDRESS, KEY) == (
        'restrict,from="192.0.2.61",command="/usr/local/sbin/packmaster-receive files" '
        f"{KEY} packmaster-sync-files"
    )
    other = replace(TWO, admin_user="admin", port=2222)
    assert 'command="sudo -n /usr/local/sbin/packmaster-receive files"' in door_line(
        SHARE, other, ADDRESS, KEY
    )
    assert known_hosts_file(SHARE, other).content == "[192.0.2.62]:2222 ssh-ed25519 AAAAHostKey\n"


def test_the_receiver_gets_two_directories_to_write_to() -> None:
    receiver, settings_file, daemon = receiver_files(SHARE)
    assert "flock -s -n -E 75" in receiver.content
    assert "disk='/srv/disk'\ncode='/srv/disk/platforms'\n" in settings_file.content
    assert "[code]\npath = /srv/disk/platforms\n" in daemon.content
    assert "[data]\npath = /srv/disk/sites\n" in daemon.content
    for line in ("use chroot = yes", "write only = yes", "list = no"):
        assert line in daemon.content
