"""From five bare machines to a pack, to one node more and one less, and what is left alone on the way."""

from dataclasses import replace

from tasks.nfs.exports import Export
from tasks.nfs.mounts import desired_mounts
from tasks.nfs.plan import plan_provision, plan_withdraw
from tasks.nfs.state import LEASES_FILE, Beneath
from tasks.nfs.steps import PutExport, TakeExportBack
from tasks.nfs.verify import check_provided
from tests.nfs.pack import (
    CODE,
    DATA,
    DISK,
    FSTAB,
    ON_DISK,
    OURS,
    ROOT,
    SERVER,
    SLAVE2,
    apply_all,
    apply_to,
    bare,
    bare_facts,
    node,
    pack,
    provided,
    steps_of,
)

SERVERS = ("nfs1", "nfs2")


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


def test_both_servers_delegate_nothing_now_and_after_a_boot() -> None:
    facts = provided()
    asked_for = "the NFS server delegates no files to its clients"
    assert all(steps_of(plan_provision(pack(), bare_facts()), name).count(asked_for) == 1 for name in SERVERS)
    for name in SERVERS:
        without = {path: seen for path, seen in facts[name].paths.items() if path != LEASES_FILE}
        for changed in (replace(facts[name], leases=True), replace(facts[name], paths=without)):
            assert steps_of(plan_provision(pack(), {**facts, name: changed}), name) == [asked_for]


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
