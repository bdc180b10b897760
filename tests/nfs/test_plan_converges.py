"""What is not as it was asked for is made so, and every start converges in one plan."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.nfs.exports import Export, parse_exports
from tasks.nfs.mounts import desired_mounts
from tasks.nfs.plan import plan_provision
from tasks.nfs.state import NFS_UNIT, Beneath, MachineFacts, UnitState
from tasks.nfs.steps import MountAnew, MountShare, PutExport, WriteFstab
from tests.nfs.pack import (
    CODE,
    DATA,
    DISK,
    FSTAB,
    OURS,
    apply_all,
    apply_to,
    bare,
    bare_facts,
    mounted,
    pack,
    provided,
    with_beneath,
    with_unit,
)


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
    assert {mount.point for step in steps if isinstance(step, MountAnew) for mount in step.mounts} == {DATA}


def test_another_address_is_mounted_from_when_nothing_is_mounted_from_the_old_one() -> None:
    facts = provided()
    share = pack().share
    assert share is not None
    moved = pack(address="10.9.0.61")
    plan = plan_provision(moved, facts)
    for each in plan.mounts:
        (step, _) = each.steps
        assert isinstance(step, MountAnew)
        assert [mount.point for mount in step.mounts] == [CODE, DATA]
        assert f"mounted from {share.address}:" in step.reason
    assert not plan_provision(moved, apply_to(facts, plan))


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
