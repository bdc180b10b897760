"""From five bare machines to a pack; what is refused; and that every start converges in one plan."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import PlanRefused
from tasks.fleet import Target
from tasks.nfs.exports import Export, exports_file, parse_exports
from tasks.nfs.mounts import desired_mounts
from tasks.nfs.plan import ProvisionPlan, plan_provision, plan_withdraw
from tasks.nfs.state import NFS_UNIT, Beneath, MachineFacts, Numbers, UnitState
from tasks.nfs.steps import MountAnew, MountShare, PutExport, TakeExportBack, WriteFstab
from tasks.nfs.verify import check_provided
from tasks.servers.state import PathState
from tests.nfs.pack import (
    DISK,
    FSTAB,
    NUMBERS,
    ON_DISK,
    ROOT,
    SERVER,
    SLAVE2,
    apply_all,
    apply_to,
    bare,
    bare_facts,
    mounted,
    node,
    pack,
    with_beneath,
    with_unit,
)

CODE, DATA = "/var/aegir/platforms", "/var/aegir/sites"
SHARE = pack().share
assert SHARE is not None
OURS = exports_file(SHARE)


def provided(target: Target | None = None) -> dict[str, MachineFacts]:
    facts = bare_facts()
    return apply_to(facts, plan_provision(target or pack(), facts))


def steps_of(plan: ProvisionPlan, host: str) -> list[str]:
    return [str(step) for each in plan.phases if each.host == host for step in each.steps]


def test_bare_machines_get_everything_in_this_order() -> None:
    plan = plan_provision(pack(), bare_facts())
    order = [
        "install nfs-kernel-server",
        "account aegir",
        "directory",
        "/etc/exports.d",
        "the NFS server runs",
    ]
    steps = steps_of(plan, "nfs1")
    found = [next(i for i, step in enumerate(steps) if word in step) for word in order]
    assert found == sorted(found)
    assert not any(step.startswith("export ") for step in steps), "the start of the server reads the file"
    assert not any("export" in step for step in steps_of(plan, "nfs2") if "directory" not in step)
    order = ["install nfs-common", "packmaster-mounts", f"{CODE}: empty", f"mount {CODE}", "/etc/fstab"]
    steps = steps_of(plan, "slave1")
    found = [next(i for i, step in enumerate(steps) if word in step) for word in order]
    assert found == sorted(found)


def test_a_provided_pack_gets_nothing_and_says_so() -> None:
    facts = provided()
    plan = plan_provision(pack(), facts)
    assert not plan, str(plan)
    assert str(plan) == "share blogs: is provided as asked, nothing to do"
    assert plan.as_rows() == [{"host": "blogs", "order": "", "step": "is provided as asked, nothing to do"}]
    assert not check_provided(pack(), plan, facts).failed


def test_the_mounts_of_a_slave_and_of_the_master() -> None:
    slave, master = (desired_mounts(pack(), pack().nodes[i]) for i in (1, 0))
    assert [mount.fstab_line for mount in slave] == [
        f"192.0.2.61:{DISK}/blogs/platforms {CODE} nfs ro,softerr,timeo=50,retrans=2,vers=4.2,noatime,"
        "retry=0,_netdev,nofail,x-systemd.mount-timeout=15,x-packmaster=blogs 0 0",
        f"192.0.2.61:{DISK}/blogs/sites {DATA} nfs rw,hard,vers=4.2,noatime,retry=0,"
        "_netdev,nofail,x-systemd.mount-timeout=15,x-packmaster=blogs 0 0",
    ]
    assert [mount.options[:2] for mount in master] == [("rw", "hard"), ("rw", "hard")]


def test_a_master_that_is_the_server_mounts_its_own_directories() -> None:
    server = replace(SERVER, address="192.0.2.71")
    target = pack(server=server, address="192.0.2.71")
    assert [mount.fstab_line for mount in desired_mounts(target, target.nodes[0])] == [
        f"{DISK}/blogs/platforms {CODE} none bind,nofail,x-packmaster=blogs 0 0",
        f"{DISK}/blogs/sites {DATA} none bind,nofail,x-packmaster=blogs 0 0",
    ]
    facts = {**bare_facts(), "master1": bare("master1", mounts=(ROOT, ON_DISK))}
    plan = plan_provision(target, facts)
    assert not any("192.0.2.71" in step for step in steps_of(plan, "nfs1") if step.startswith("export"))
    assert not plan_provision(target, apply_to(facts, plan))


def test_in_mode_external_the_server_is_not_touched() -> None:
    target = pack(mode="external", standby=None, address="192.0.2.99")
    facts = {name: seen for name, seen in bare_facts().items() if not name.startswith("nfs")}
    plan = plan_provision(target, facts)
    assert {each.host for each in plan.phases} == {"master1", "slave1", "slave2"}
    assert "192.0.2.99:/" in str(plan)
    assert not plan_provision(target, apply_to(facts, plan))


def test_lines_of_others_stay_byte_for_byte() -> None:
    text = provided()["slave1"].fstab
    assert text.startswith(f"{FSTAB}\n")
    assert len(text.splitlines()) == len(FSTAB.splitlines()) + 2


def test_a_node_that_comes_is_exported_to_and_nothing_else_changes() -> None:
    facts = provided()
    new = node("slave3", 74)
    target = replace(pack(), nodes=(*pack().nodes, new))
    asked = {"nfs1": facts["nfs1"], "nfs2": facts["nfs2"], "slave3": bare("slave3")}
    plan = plan_provision(target, asked)
    exported = [step for each in plan.exports for step in each.steps if isinstance(step, PutExport)]
    assert {step.export.client for step in exported} == {"192.0.2.74"}
    assert {step.export.writable for step in exported} == {True, False}
    assert {each.host for each in plan.phases if each} == {"nfs1", "slave3"}
    assert not plan_provision(target, apply_to({**facts, **asked}, plan))


def test_a_node_that_cannot_be_read_gets_nothing_new_and_keeps_what_it_has() -> None:
    facts = bare_facts()
    del facts["slave2"]
    plan = plan_provision(pack(), facts)
    assert "192.0.2.73" not in str(plan)
    facts = provided()
    del facts["slave2"]
    assert not plan_provision(pack(), facts)


def test_a_node_that_goes_leaves_nothing_behind() -> None:
    facts = provided()
    plan = plan_withdraw(pack(), SLAVE2, facts)
    now = apply_all(facts, (plan.mounts, plan.exports))
    assert now["slave2"].fstab.rstrip("\n") == FSTAB
    assert now["slave2"].mounts == (ROOT,)
    assert now["slave2"].beneath[DATA] == Beneath("directory", "aegir", "aegir", 0o711)
    assert {export.client for export in now["nfs1"].table} == {"192.0.2.71", "192.0.2.72"}
    assert "192.0.2.73" not in now["nfs1"].files[OURS]
    assert not plan_withdraw(pack(), SLAVE2, now)
    left = replace(pack(), nodes=pack().nodes[:2])
    assert not plan_provision(left, {name: seen for name, seen in now.items() if name != "slave2"})


def test_the_last_node_takes_the_file_along() -> None:
    facts = provided()
    for gone in pack().nodes:
        target = replace(pack(), nodes=tuple(n for n in pack().nodes if gone.name <= n.name))
        plan = plan_withdraw(target, gone, facts)
        facts = apply_all(facts, (plan.mounts, plan.exports))
    assert OURS not in facts["nfs1"].files
    assert facts["nfs1"].table == ()


def test_a_node_that_is_gone_is_not_exported_to() -> None:
    facts = provided()
    del facts["slave2"]
    plan = plan_withdraw(pack(), SLAVE2, facts)
    assert not plan.mounts
    assert {type(step) for step in plan.exports.steps} >= {TakeExportBack}


def test_somebody_elses_export_is_left_alone() -> None:
    facts = bare_facts()
    by_hand = Export("/home", "192.0.2.200", ("rw", "no_root_squash"))
    other = "/etc/exports.d/other.exports"
    facts["nfs1"] = replace(facts["nfs1"], table=(by_hand,), files={other: "/home 192.0.2.200(rw)\n"})
    plan = plan_provision(pack(), facts)
    assert not [step for step in steps_of(plan, "nfs1") if "/home" in step or "no more" in step]
    now = apply_to(facts, plan)
    assert now["nfs1"].files[other] == "/home 192.0.2.200(rw)\n"
    assert not plan_provision(pack(), now)


def test_another_option_in_force_is_exported_anew() -> None:
    facts = provided()
    wrong = tuple(
        replace(e, options=tuple(o.replace("ro", "rw") if o == "ro" else o for o in e.options))
        for e in facts["nfs1"].table
    )
    facts["nfs1"] = replace(facts["nfs1"], table=wrong)
    plan = plan_provision(pack(), facts)
    (only,) = [each for each in plan.phases if each]
    assert {step.export.client for step in only.steps if isinstance(step, PutExport)} == {
        "192.0.2.72", "192.0.2.73",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"options": {"rw"}, "super_options": {"ro"}}, "ro was asked for"),
        ({"source": f"192.0.2.62:{DISK}/blogs/platforms"}, "mounted from 192.0.2.62"),
        ({"super_options": {"hard"}}, "softerr was asked for"),
        ({"super_options": {"timeo=600"}}, "timeo=50 was asked for, and it is timeo=600"),
        ({"super_options": {"addr=192.0.2.62"}}, "talks to addr=192.0.2.62"),
    ],
)
def test_a_mount_that_is_not_as_asked_is_made_anew(changes: dict[str, Any], words: str) -> None:
    facts = provided()
    mounts = list(facts["slave1"].mounts)
    (at,) = [i for i, entry in enumerate(mounts) if entry.point == CODE]
    sets = {name: frozenset(value) for name, value in changes.items() if isinstance(value, set)}
    if "super_options" in sets:
        replaced = {"ro" if o == "rw" else o.partition("=")[0] for o in sets["super_options"]} | (
            {"softerr"} if "hard" in sets["super_options"] else set()
        )
        kept = {o for o in mounts[at].super_options if o.partition("=")[0] not in replaced}
        sets["super_options"] = frozenset(kept | sets["super_options"])
    mounts[at] = replace(mounts[at], **{**changes, **sets})
    facts["slave1"] = replace(facts["slave1"], mounts=tuple(mounts))
    plan = plan_provision(pack(), facts)
    (only,) = [each for each in plan.phases if each]
    (step,) = only.steps
    assert isinstance(step, MountAnew)
    assert words in step.reason


def test_other_options_that_the_kernel_does_not_show_are_mounted_anew_too() -> None:
    facts = provided()
    plan = plan_provision(pack(data_options="lookupcache=positive"), facts)
    steps = [step for each in plan.mounts for step in each.steps]
    assert {type(step) for step in steps} == {MountAnew, WriteFstab}
    assert {step.mount.point for step in steps if isinstance(step, MountAnew)} == {DATA}


def test_a_smaller_size_than_asked_is_what_was_agreed_on() -> None:
    assert not plan_provision(
        pack(code_options="rsize=1048576"), provided(pack(code_options="rsize=1048576"))
    )


def test_a_stale_mount_is_made_anew_and_a_hung_one_not_touched() -> None:
    facts = provided()
    facts["slave1"] = replace(facts["slave1"], answers={CODE: "Stale file handle"})
    facts["slave2"] = replace(facts["slave2"], answers={CODE: "ok", DATA: "hung"})
    plan = plan_provision(pack(), facts)
    assert [type(step) for each in plan.phases for step in each.steps] == [MountAnew]
    ((host, why),) = plan.refused
    assert host == "slave2"
    assert "does not answer" in why
    assert "repair-share" in why


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


def test_ids_are_not_changed_where_looking_for_files_would_hang() -> None:
    facts = bare_facts()
    facts["slave2"] = bare("slave2", numbers=Numbers(1001, 1002, 1002, 33, 33), answers={DATA: "hung"})
    with pytest.raises(PlanRefused, match="on slave2 ids have to be changed, and a mount there does not"):
        plan_provision(pack(), facts, uid=5000, gid=5000, fix_ids=True)


def test_without_being_asked_the_ids_in_use_are_kept() -> None:
    facts = {**bare_facts(), "nfs1": bare("nfs1", numbers=Numbers(7001, 7002, 7002, 33, 33))}
    plan = plan_provision(pack(), facts)
    assert (plan.uid, plan.gid) == (7001, 7002)


def exports_of(facts: Mapping[str, MachineFacts]) -> set[tuple[str, str]]:
    return {export.key for export in facts["nfs1"].table}


@given(
    killed_after=st.integers(0, 60),
    subnet=st.booleans(),
    gone=st.sampled_from([None, "slave1", "slave2"]),
    by_hand=st.booleans(),
)
def test_a_plan_that_is_cut_off_anywhere_is_finished_by_the_next(
    killed_after: int, subnet: bool, gone: str | None, by_hand: bool
) -> None:
    """From a pack with other members, or from nothing; a foreign export is never touched."""
    start = provided() if gone else bare_facts()
    foreign = Export("/home", "192.0.2.200", ("rw",))
    if by_hand:
        running = with_unit(start["nfs1"], NFS_UNIT, UnitState(True, True))
        start["nfs1"] = replace(running, table=(*running.table, foreign))
    target = pack(clients=("192.0.2.0/24",)) if subnet else pack()
    target = replace(target, nodes=tuple(n for n in target.nodes if n.name != gone))
    start = {name: seen for name, seen in start.items() if name != gone}

    facts, left = start, killed_after
    plan = plan_provision(target, facts)
    for each in plan.phases:
        cut = replace(each, steps=each.steps[:left])
        facts, left = apply_all(facts, (cut,)), max(0, left - len(each.steps))
    facts = apply_to(facts, plan_provision(target, facts))
    assert not plan_provision(target, facts)
    assert {export.key for export in parse_exports(facts["nfs1"].files[OURS])} == exports_of(facts) - (
        {foreign.key} if by_hand else set()
    )
    assert (foreign in facts["nfs1"].table) == by_hand


@given(
    st.lists(st.sampled_from(["mounted", "line", "sealed", "package"]), unique=True),
    st.sampled_from([FSTAB, "", "\n\n", "# only\n", FSTAB + "\n"]),
)
def test_a_node_converges_in_one_plan_from_anything_in_between(done: list[str], fstab: str) -> None:
    facts = {**provided(), "slave1": bare("slave1", fstab=fstab)}
    ours = desired_mounts(pack(), pack().nodes[1])
    slave = facts["slave1"]
    if "mounted" in done:
        slave = replace(slave, mounts=(*slave.mounts, mounted(ours[0])))
    if "line" in done:
        separator = "" if fstab.endswith("\n") or not fstab else "\n"
        slave = replace(slave, fstab=f"{fstab}{separator}{ours[1].fstab_line}\n")
    if "sealed" in done:
        slave = with_beneath(slave, CODE, Beneath("directory", "root", "root", 0o555))
    if "package" in done:
        slave = replace(slave, packages=frozenset({"nfs-common"}))
    facts["slave1"] = slave
    plan = plan_provision(pack(), facts)
    mounts = [step for each in plan.mounts for step in each.steps if isinstance(step, MountShare)]
    assert len(mounts) == (1 if "mounted" in done else 2)
    now = apply_to(facts, plan)
    assert not plan_provision(pack(), now)
    assert now["slave1"].fstab.startswith(fstab)
