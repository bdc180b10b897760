"""Exports: who gets what, the file's text, and the tables that other programs write."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import PlanRefused
from tasks.nfs.exports import (
    Export,
    canonical,
    contradict,
    desired_exports,
    export_fsid,
    find_differing,
    find_extra,
    is_for_all,
    pack_of,
    parse_exports,
    render_exports,
)
from tests.nfs.pack import DISK, MASTER, SERVER, pack

CODE, DATA = f"{DISK}/blogs/platforms", f"{DISK}/blogs/sites"
ETAB = (
    "/srv/disk/blogs/sites\t192.0.2.71(rw,sync,wdelay,hide,nocrossmnt,secure,root_squash,no_all_squash,"
    "no_subtree_check,secure_locks,acl,no_pnfs,fsid=8edd2686-7cdf-502f-9bf2-0a2030fa12ea,mountpoint=/srv/disk,"
    "anonuid=65534,anongid=65534,sec=sys,rw,secure,root_squash,no_all_squash)\n"
)
KERNEL = """# Version 1.1
# Path Client(Flags) # IPs
/srv/disk/blogs/sites\t192.0.2.71(rw,root_squash,sync,wdelay,no_subtree_check,uuid=8edd2686:7cdf502f,sec=1)
"""


def test_the_file_as_it_is_written() -> None:
    code, data = (export_fsid("blogs", "nfs1", path) for path in (CODE, DATA))
    always = "sync,root_squash,no_all_squash,no_subtree_check,secure,sec=sys"
    text = render_exports("demo", desired_exports(pack()))
    assert text.splitlines()[1:] == [
        "# pack demo",
        f"{CODE} 192.0.2.71(rw,{always},fsid={code},mountpoint={DISK})",
        f"{CODE} 192.0.2.72(ro,{always},fsid={code},mountpoint={DISK})",
        f"{CODE} 192.0.2.73(ro,{always},fsid={code},mountpoint={DISK})",
        f"{DATA} 192.0.2.71(rw,{always},fsid={data},mountpoint={DISK})",
        f"{DATA} 192.0.2.72(rw,{always},fsid={data},mountpoint={DISK})",
        f"{DATA} 192.0.2.73(rw,{always},fsid={data},mountpoint={DISK})",
    ]
    assert pack_of(text) == "demo"
    assert parse_exports(text) == desired_exports(pack())


def test_in_a_subnet_only_the_master_may_write_code() -> None:
    found = {(e.path, e.client): e.writable for e in desired_exports(pack(clients=("192.0.2.0/24",)))}
    assert found == {
        (CODE, "192.0.2.71"): True,
        (CODE, "192.0.2.0/24"): False,
        (DATA, "192.0.2.71"): True,
        (DATA, "192.0.2.0/24"): True,
    }


def test_a_share_without_a_disk_asks_for_no_mount_point() -> None:
    assert not any("mountpoint" in export.line for export in desired_exports(pack(disk="")))


def test_a_node_that_is_the_server_gets_no_export() -> None:
    server = replace(SERVER, address=MASTER.address)
    assert {export.client for export in desired_exports(pack(server=server))} == {"192.0.2.72", "192.0.2.73"}


def test_identities_are_the_same_on_every_run_and_differ_on_every_server_and_path() -> None:
    assert export_fsid("blogs", "nfs1", CODE) == export_fsid("blogs", "nfs1", CODE)
    assert len({export_fsid(s, n, p) for s in "ab" for n in "cd" for p in "ef"}) == 8


@pytest.mark.parametrize("client", ["*", "0.0.0.0/0", "10.0.0.0/8", "::/0", "nodes.example.org", "@group"])
def test_an_export_to_almost_everybody_is_refused(client: str) -> None:
    with pytest.raises(PlanRefused):
        desired_exports(pack(clients=(client,)))


def test_what_is_in_force_is_compared_with_its_options() -> None:
    wanted = [e for e in desired_exports(pack()) if (e.path, e.client) == (DATA, "192.0.2.71")]
    (actual,) = parse_exports(ETAB)
    named = next(o for o in wanted[0].options if o.startswith("fsid="))
    actual = replace(actual, options=tuple(named if o.startswith("fsid=") else o for o in actual.options))
    assert find_differing(wanted, [actual]) == ()
    assert find_differing(wanted, []) == tuple(wanted)
    changes = [("rw", "ro"), ("sync", "async"), ("root_squash", "no_root_squash"), (named, "fsid=1")]
    for old, new in (*changes, ("anonuid=65534", "anonuid=0"), ("anongid=65534", "anongid=0")):
        assert old in actual.options
        other = replace(actual, options=tuple(new if o == old else o for o in actual.options))
        assert find_differing(wanted, [other]) == tuple(wanted), new


def test_what_the_kernel_was_told_is_compared_too() -> None:
    wanted = desired_exports(pack())
    (seen,) = parse_exports(KERNEL)
    assert contradict(wanted, [seen]) == ()
    wrong = replace(seen, options=tuple("no_root_squash" if o == "root_squash" else o for o in seen.options))
    assert contradict(wanted, [wrong]) == (f"{DATA} for 192.0.2.71 is no_root_squash",)
    assert contradict(wanted, [replace(wrong, path="/home")]) == ()
    root = replace(seen, options=(*seen.options, "anonuid=0"))
    assert contradict(wanted, [root]) == (f"{DATA} for 192.0.2.71 is anonuid=0",)


def test_what_is_exported_to_others_is_found() -> None:
    wanted = desired_exports(pack(clients=("192.0.2.0/24",)))
    spelled = [replace(e, client=e.client.replace("/24", "/255.255.255.0")) for e in wanted]
    assert find_extra((CODE, DATA), wanted, spelled) == ()
    others = [Export(path, "192.0.2.99", ("ro",)) for path in (DATA, f"{CODE}/blog", f"{DATA}2", DISK)]
    assert find_extra((CODE, DATA), wanted, [*wanted, *others]) == tuple(others[:2])


def test_a_file_somebody_wrote_by_hand_is_understood() -> None:
    text = (
        "# a comment\n\n/home -rw,sync 192.0.2.1 192.0.2.2(ro) \\\n  @group\n"
        '"/with blank" *(ro)#x\n/with\\040octal 10.0.0.0/8()\n/to/all\n/oops host (rw)\n'
    )
    assert [(e.path, e.client, e.options) for e in parse_exports(text)] == [
        ("/home", "192.0.2.1", ("rw", "sync")),
        ("/home", "192.0.2.2", ("rw", "sync", "ro")),
        ("/home", "@group", ("rw", "sync")),
        ("/with blank", "*", ("ro",)),
        ("/with octal", "10.0.0.0/8", ()),
        ("/to/all", "*", ()),
        ("/oops", "host", ()),
        ("/oops", "*", ("rw",)),
    ]


@pytest.mark.parametrize(
    ("client", "all_of_them"),
    [
        ("*", True),
        ("*.example.org", True),
        ("0.0.0.0/0.0.0.0", True),
        ("10.0.0.0/8", True),
        ("10.1.2.0/24", False),
        ("10.1.2.3", False),
        ("backup.example.org", False),
        ("@group", False),
    ],
)
def test_who_stands_for_everybody(client: str, all_of_them: bool) -> None:
    assert is_for_all(client) == all_of_them


def test_a_subnet_of_one_is_an_address() -> None:
    assert canonical("192.0.2.7/32") == canonical("192.0.2.7") == "192.0.2.7"
    assert canonical("192.0.2.0/255.255.255.0") == "192.0.2.0/24"


@given(st.text())
def test_no_text_is_too_odd_to_be_read(text: str) -> None:
    for export in parse_exports(text):
        assert export.client
