"""Mounts that are not what they must be, and who has to follow a switch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tasks.code.release import HostPlan, ReleasePlan
from tasks.errors import PlanRefused
from tasks.fleet import PLATFORMS, SITES, Machine, Node, Share, Target
from tasks.packs.facts import MemberFacts, Mount, parse_member_facts
from tasks.packs.plan import plan_following, refuse_few, refuse_unmounted

KEY = SecretStr("key")
SERVER = Machine("nfs1", "192.0.2.61", "nfs", KEY, ("k",))
SHARE = Share("files", SERVER, "192.0.2.61", "/srv/packmaster/files/platforms", "/srv/packmaster/files/sites")
NODES = tuple(
    Node(name, f"192.0.2.{n}", "apache", KEY, ("k",))
    for n, name in ((11, "master1"), (12, "slave1"), (13, "slave2"))
)
PACK = Target("farm", NODES, "master1", SHARE)
CLUSTER = Target("web", NODES)
NEW, OLD = "releases/20260101000000-0123456789ab 12 1.5", "releases/20250101000000-0123456789ab 11 1.0"
TABLE = """mount 21 1 98:0 / / rw,relatime - ext4 /dev/root rw
mount 40 21 0:32 / /var/aegir/platforms rw,relatime shared:9 - autofs systemd-1 rw,fd=39
mount 51 40 0:38 / /var/aegir/platforms ro,noatime shared:10 - nfs4 192.0.2.61:/srv/a ro,vers=4.2
mount 52 21 0:39 / /var/aegir/sites rw,noatime - nfs4 192.0.2.61:/srv/b rw,vers=4.2,hard
mount 53 21 0:40 / /var/aegir/sites/inner rw - ext4 /dev/sdb rw
current releases/20260101000000-0123456789ab 12 1.5
told releases/20250101000000-0123456789ab 11 1.0
"""


def mounted(*, follows: bool, source: str = "192.0.2.61") -> MemberFacts:
    return MemberFacts(
        {
            PLATFORMS: Mount(f"{source}:{SHARE.code_path}", "nfs4", not follows),
            SITES: Mount(f"{source}:{SHARE.data_path}", "nfs4", True),
        }
    )


def seen(**changed: MemberFacts) -> dict[str, MemberFacts]:
    return {node.name: mounted(follows=node.name != "master1") for node in NODES} | changed


def refusal(target: Target, facts: dict[str, MemberFacts]) -> str:
    with pytest.raises(PlanRefused) as refused:
        refuse_unmounted(target, facts)
    assert "provision-pack" in str(refused.value)
    return str(refused.value)


def test_what_the_kernel_says_is_read_with_the_uppermost_mount() -> None:
    facts = parse_member_facts(TABLE)
    assert dict(facts.mounts) == {
        PLATFORMS: Mount("192.0.2.61:/srv/a", "nfs4", False),
        SITES: Mount("192.0.2.61:/srv/b", "nfs4", True),
    }
    assert facts.current == "20260101000000-0123456789ab"
    assert facts.link != facts.told


def test_a_node_that_sees_nothing_yet_has_nothing_to_tell() -> None:
    facts = parse_member_facts("mount 21 1 98:0 / / rw - ext4 /dev/root rw\ncurrent \ntold \n")
    assert facts == MemberFacts()
    assert not plan_following("blog", "", {"slave1": facts}, switching=False)


def test_mounts_as_they_must_be_are_not_refused() -> None:
    refuse_unmounted(PACK, seen())
    refuse_unmounted(PACK, {})
    refuse_unmounted(CLUSTER, {"slave1": MemberFacts()})


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (MemberFacts(), f"slave1: nothing is mounted at {PLATFORMS}"),
        (mounted(follows=True, source="192.0.2.62"), f"slave1: {PLATFORMS} is 192.0.2.62:"),
        (mounted(follows=False), f"slave1: {PLATFORMS} is mounted read-write"),
        (replace(mounted(follows=True), mounts={}), f"slave1: nothing is mounted at {SITES}"),
        (
            replace(mounted(follows=True), mounts={PLATFORMS: Mount("/dev/sdb", "ext4", False)}),
            f"slave1: nothing is mounted at {PLATFORMS}; it must be 192.0.2.61:",
        ),
    ],
)
def test_a_wrong_mount_is_refused_with_the_nodes_name(facts: MemberFacts, said: str) -> None:
    assert said in refusal(PACK, seen(slave1=facts))


def test_code_is_never_staged_into_a_masters_unmounted_directory() -> None:
    said = refusal(PACK, seen(master1=MemberFacts()))
    assert f"master1: nothing is mounted at {PLATFORMS}" in said
    assert "slave1" not in said
    assert "master1: /var/aegir/sites is mounted read-only" in refusal(
        PACK, seen(master1=replace(mounted(follows=False), mounts=dict(mounted(follows=False).mounts)
        | {SITES: Mount(f"192.0.2.61:{SHARE.data_path}", "nfs4", False)}))
    )  # fmt: skip


def test_a_master_that_is_the_server_has_its_own_directories() -> None:
    home = replace(SHARE, server=replace(SERVER, address="192.0.2.11"), address="192.0.2.11")
    pack = replace(PACK, share=home)
    facts = {name: mounted(follows=True, source="192.0.2.11") for name in ("slave1", "slave2")}
    refuse_unmounted(pack, facts | {"master1": MemberFacts(own=frozenset({PLATFORMS, SITES}))})
    said = refusal(pack, facts | {"master1": MemberFacts(own=frozenset({SITES}))})
    assert "although it is the share's own server" in said


def test_an_address_of_ipv6_is_written_as_mount_writes_it() -> None:
    pack = replace(PACK, share=replace(SHARE, address="2001:db8::61"))
    refuse_unmounted(pack, {"slave1": mounted(follows=True, source="[2001:db8::61]")})


def test_every_node_is_needed_unless_fewer_are_asked_for() -> None:
    refuse_few(PACK, (), None)
    refuse_few(PACK, ("slave2",), 2)
    refuse_few(CLUSTER, ("slave2",), None)
    with pytest.raises(PlanRefused, match=r"2 node\(s\) of pack farm can be read and 3 are needed.*slave2"):
        refuse_few(PACK, ("slave2",), None)
    with pytest.raises(PlanRefused, match="master1, the master of pack farm"):
        refuse_few(PACK, ("master1",), 1)


@given(
    st.dictionaries(
        st.sampled_from(["slave1", "slave2"]),
        st.builds(MemberFacts, link=st.sampled_from(["", OLD, NEW]), told=st.sampled_from(["", OLD, NEW])),
    ),
    st.booleans(),
)
def test_who_followed_need_not_follow_again(facts: dict[str, MemberFacts], switching: bool) -> None:
    plan = plan_following("blog", "20260101000000-0123456789ab", facts, switching=switching)
    assert plan.hosts >= {host for host, seen in facts.items() if seen.link != seen.told}
    assert bool(plan) == bool(plan.as_rows())
    assert all(host in str(plan) for host in plan.hosts)
    after = {
        host: replace(seen, link=NEW, told=NEW) if host in plan.hosts else seen
        for host, seen in facts.items()
    }
    assert not plan_following("blog", "20260101000000-0123456789ab", after, switching=False)


def test_going_back_and_forth_is_told_of() -> None:
    """The same release again is another link, so that what PHP saw in between is not forgotten about."""
    again = MemberFacts(link=NEW.replace(" 12 ", " 13 "), told=NEW)
    assert plan_following("blog", again.current, {"slave1": again}, switching=False).hosts == {"slave1"}


def test_slaves_are_shown_below_their_master_in_one_table() -> None:
    release = "20260101000000-0123456789ab"
    master = ReleasePlan("blog", release, "c1", (HostPlan("master1", switch=True),), 1, ("gone",))
    following = plan_following("blog", release, {"slave1": MemberFacts()}, switching=True)
    assert [*master.as_rows(), *following.as_rows()] == [
        {"host": "master1", "release": release, "step": "switch from nothing"},
        {"host": "gone", "release": "", "step": "cannot be read"},
        {"host": "slave1", "release": release, "step": "follow the master; sees nothing now"},
    ]
