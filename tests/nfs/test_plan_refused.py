"""What a plan refuses, one node or all of it; and ids that differ: kept, refused, or changed where asked."""

from dataclasses import replace
from typing import Any

import pytest

from tasks.errors import PlanRefused
from tasks.nfs.exports import Export
from tasks.nfs.plan import plan_provision
from tasks.nfs.state import Beneath, Numbers
from tasks.servers.state import PathState
from tests.nfs.pack import CODE, DATA, DISK, NUMBERS, OURS, ROOT, apply_to, bare, bare_facts, pack, provided

REFUSED_NODES: list[tuple[dict[str, Any], list[str]]] = [
    ({"families": frozenset({"alpine"})}, ["not Debian"]),
    ({"systemd": False}, ["not booted with systemd"]),
    ({"beneath": {CODE: Beneath("directory", "aegir", "aegir", 0o755, ("blog",))}}, ["blog", "hide", "mv"]),
    ({"beneath": {CODE: Beneath("link")}}, ["is a link"]),
    ({"fstab": f"/dev/sdc1 {DATA} ext4 defaults 0 2\n"}, ["somebody else", "/dev/sdc1"]),
    ({"fstab": f"192.0.2.9:/x {DATA} nfs rw,x-packmaster=shop 0 0\n"}, ["share shop", "one pack"]),
    ({"mounts": (ROOT, replace(ROOT, point=DATA, source="/dev/sdc1"))}, ["/dev/sdc1", "not one of ours"]),
    ({"mounts": (ROOT, replace(ROOT, point=f"{DATA}/a", source="/dev/sdc1"))}, [f"{DATA}/a", "inside of"]),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED_NODES)
def test_one_node_is_refused_and_the_others_are_not(changes: dict[str, Any], words: list[str]) -> None:
    facts = {**bare_facts(), "slave1": bare("slave1", **changes)}
    plan = plan_provision(pack(), facts)
    ((host, why),) = plan.refused
    assert host == "slave1"
    for word in words:
        assert word in why
    assert {each.host for each in plan.mounts} == {"master1", "slave2"}
    assert "slave1: refused: " in str(plan)
    assert plan.as_rows()[0]["step"].startswith("refused: ")


OTHER = "/etc/exports"
REFUSED_SERVERS: list[tuple[dict[str, Any], list[str]]] = [
    ({"mounts": (ROOT,)}, ["nothing is mounted at", DISK, "Nothing was exported"]),
    ({"families": frozenset()}, ["not Debian"]),
    ({"files": {OTHER: f"{DISK}/blogs/sites 192.0.2.5(rw)"}}, [OTHER, "192.0.2.5", "for itself"]),
    ({"files": {OTHER: f'"{DISK}/blogs/platforms/x" 192.0.2.5'}}, ["platforms/x"]),
    ({"table": (Export("/srv", "*", ("ro",)),)}, ["/srv to *", "almost everybody"]),
    ({"table": (Export("/srv", "0.0.0.0/0", ("ro",)),)}, ["almost everybody"]),
    ({"table": (Export("/exports", "192.0.2.5", ("rw", "fsid=0")),)}, ["root of NFSv4"]),
    (
        {"table": (Export(f"{DISK}/blogs/sites", "192.0.2.200", ("rw",)),)},
        ["exportfs -u 192.0.2.200:", "for"],
    ),
    ({"table": (Export(f"{DISK}/blogs/sites/a", "backup", ("ro",)),)}, ["sites/a to backup", "by hand"]),
    ({"files": {OURS: "# pack shop\n"}}, ["for the pack shop", "share of its own"]),
    ({"paths": {f"{DISK}/blogs/sites": PathState("directory", "bob", "bob", 0o755)}}, ["belongs to bob"]),
    ({"paths": {f"{DISK}/blogs/sites": PathState("link")}}, ["is a link"]),
    ({"numbers": Numbers(web_user=33)}, ["no user and group www-data"]),
    ({"holders": {"uid 5000": "bob"}}, ["UID 5000 belongs to bob"]),
    ({"holders": {"gid 33": "bob"}}, ["GID 33 belongs to bob"]),
    ({"numbers": Numbers(5000, 100, None, 33, 33)}, ["group of aegir is 100"]),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED_SERVERS)
def test_nothing_is_planned_where_the_server_must_not_be_touched(
    changes: dict[str, Any], words: list[str]
) -> None:
    facts = {**bare_facts(), "nfs1": bare("nfs1", **changes)}
    with pytest.raises(PlanRefused) as refused:
        plan_provision(pack(), facts)
    for word in words:
        assert word in str(refused.value)


def test_a_backup_host_may_have_what_lies_around_the_share() -> None:
    table = (Export("/srv", "192.0.2.5", ("ro",)),)
    assert plan_provision(pack(), {**bare_facts(), "nfs1": bare("nfs1", table=table)})


def test_two_servers_never_export_the_same_share() -> None:
    facts = provided()
    facts["nfs2"] = replace(facts["nfs2"], table=facts["nfs1"].table)
    with pytest.raises(PlanRefused, match="the standby nfs2 of share blogs exports it, too"):
        plan_provision(pack(), facts)


def test_ids_that_differ_are_refused_with_every_machines_numbers() -> None:
    facts = bare_facts()
    facts["slave2"] = bare("slave2", numbers=Numbers(1001, 1002, 1002, 33, 33))
    facts["master1"] = bare("master1", numbers=NUMBERS)
    with pytest.raises(PlanRefused) as refused:
        plan_provision(pack(), facts, uid=5000, gid=5000)
    for word in ("slave2: aegir 1001:1002", "master1: aegir 5000:5000", "nfs1: aegir -:-", "usermod -u 5000"):
        assert word in str(refused.value)


def test_ids_are_fixed_where_that_was_asked_for_and_on_the_server_below_the_exports() -> None:
    facts = {**bare_facts(), "nfs1": bare("nfs1", numbers=Numbers(1001, 1002, 1002, 48, 48))}
    plan = plan_provision(pack(), facts, uid=5000, gid=5000, fix_ids=True)
    (only,) = plan.ids
    assert [str(step) for step in only.steps] == [
        f"aegir: 1001:1002 becomes 5000:5000, and its files below /var/aegir, {DISK}/blogs/platforms, "
        f"{DISK}/blogs/sites follow",
        f"www-data: 48:48 becomes 33:33, and its files below /var/aegir, {DISK}/blogs/platforms, "
        f"{DISK}/blogs/sites follow",
    ]
    assert not plan_provision(pack(), apply_to(facts, plan), uid=5000, gid=5000)


def test_directories_that_have_the_numbers_already_are_nobody_elses() -> None:
    """Somebody gave the account other ids after it was exported: what it had has no name any more."""
    facts = provided()
    numbered = {
        path: replace(seen, owner="5000", group="5000") if seen.owner == "aegir" else seen
        for path, seen in facts["nfs1"].paths.items()
    }
    facts["nfs1"] = replace(facts["nfs1"], numbers=Numbers(6011, 6012, 6012, 33, 33), paths=numbered)
    plan = plan_provision(pack(), facts, uid=5000, gid=5000, fix_ids=True)
    assert [len(each.steps) for each in plan.phases if each] == [1], str(plan)
    with pytest.raises(PlanRefused, match="platforms belongs to 5000"):
        plan_provision(pack(), facts, uid=6011, gid=6012, fix_ids=True)


def test_ids_are_not_changed_where_looking_for_files_would_hang() -> None:
    facts = bare_facts()
    facts["slave2"] = bare("slave2", numbers=Numbers(1001, 1002, 1002, 33, 33), answers={DATA: "hung"})
    with pytest.raises(PlanRefused, match="on slave2 ids have to be changed, and a mount there does not"):
        plan_provision(pack(), facts, uid=5000, gid=5000, fix_ids=True)


def test_without_being_asked_the_ids_in_use_are_kept() -> None:
    facts = {**bare_facts(), "nfs1": bare("nfs1", numbers=Numbers(7001, 7002, 7002, 33, 33))}
    plan = plan_provision(pack(), facts)
    assert (plan.uid, plan.gid) == (7001, 7002)
