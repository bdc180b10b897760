"""Releases on apache and nginx in parallel: what they share, rollback, pruning, links to sites, tampering."""

import os

import pytest

from tasks.code.apply import prune_releases, switch_release, verify_release
from tasks.code.build import load_manifest
from tasks.code.facts import read_manifest
from tasks.code.plan import plan_rollback
from tasks.errors import CommandFailed, Drift, PlanRefused
from tasks.ssh import connect
from tests.nodes.shop import Exec, Shop, here, live, shop
from tests.odd_names import ODD

__all__ = ["shop"]


@pytest.mark.parametrize("shop", [("web1", "web2", "web3", "web4")], indirect=True)
def test_deployed_on_all_then_nothing_to_do(shop: Shop, docker_exec: Exec) -> None:
    for name in ODD:
        with open(os.path.join(os.fsencode(shop.source), b"web", name), "wb") as file:
            file.write(name)
        os.symlink(name, os.path.join(os.fsencode(shop.source), b"l" + name[:200]))
    plan = shop.deploy(overlay={"web/wp-config.php": b"<?php // ours"})
    assert plan.staging_hosts == plan.switching_hosts == ("web1", "web2", "web3", "web4")
    built = shop.build(overlay={"web/wp-config.php": b"<?php // ours"})
    shop.check(plan, built)
    again = shop.deploy(overlay={"web/wp-config.php": b"<?php // ours"})
    assert not again
    for node in ("web1", "web4"):
        assert live(docker_exec, shop, node, "web/wp-config.php") == "<?php // ours"
        modes = docker_exec(
            node, "stat", "-c", "%U:%G %a", here(shop, "current/web"), here(shop, "current/web/run")
        )
        assert modes.splitlines() == ["aegir:aegir 755", "aegir:aegir 755"]
    assert read_manifest(connect(shop.nodes[0]), shop.platform, plan.release) == built.manifest


def test_an_operator_can_check_with_b2sum(shop: Shop, docker_exec: Exec) -> None:
    plan = shop.deploy()
    script = f"cd {here(shop, 'current')} && b2sum --check --strict --quiet ../../manifests/{plan.release}"
    assert docker_exec("web1", "sh", "-c", script) == ""


def test_a_change_shares_what_stayed_and_touches_no_old_release(shop: Shop, docker_exec: Exec) -> None:
    one = shop.deploy()
    old = (shop.source / "web/file1.php").stat()
    # Same size, same time, other content, another mode, a file become a directory, a directory gone.
    (shop.source / "web/file1.php").write_text("<?php // X\n" * 50)
    os.utime(shop.source / "web/file1.php", ns=(old.st_atime_ns, old.st_mtime_ns))
    (shop.source / "web/file2.php").chmod(0o755)
    (shop.source / "web/file3.php").unlink()
    (shop.source / "web/file3.php").mkdir()
    (shop.source / "web/file3.php/in").write_text("x")
    (shop.source / "empty").rmdir()
    (shop.source / "empty").write_text("no longer")
    (shop.source / "web/link").unlink()
    (shop.source / "web/link").symlink_to("file2.php")
    two = shop.deploy()
    assert {part.base for part in two.hosts} == {one.release}
    assert all(part.size.files == 6 for part in two.hosts)
    shop.check(two, shop.build())
    inodes = docker_exec(
        "web1",
        "stat",
        "-c",
        "%i",
        *(here(shop, "releases", r, "web/file9.php") for r in (one.release, two.release)),
    )
    assert len(set(inodes.split())) == 1
    first = load_manifest(shop.work, one.content)
    assert first is not None
    for node in shop.nodes:
        verify_release(connect(node), shop.platform, one.release, first)


def test_rollback_and_forward(shop: Shop, docker_exec: Exec) -> None:
    one = shop.deploy()
    (shop.source / "web/file1.php").write_text("two")
    two = shop.deploy()
    assert live(docker_exec, shop, "web3", "web/file1.php") == "two"
    back = plan_rollback(shop.platform, shop.facts("all"))
    assert back.release == one.release
    for node in shop.nodes:
        assert switch_release(connect(node), shop.platform, back.release).changed
        assert not switch_release(connect(node), shop.platform, back.release).changed
    assert live(docker_exec, shop, "web3", "web/file1.php").startswith("<?php // 1")
    with pytest.raises(PlanRefused, match="no older release"):
        plan_rollback(shop.platform, shop.facts("all"))
    again = shop.deploy()
    assert (again.release, again.staging_hosts) == (two.release, ())


def test_going_back_before_the_first_release(shop: Shop, docker_exec: Exec) -> None:
    shop.deploy()
    assert switch_release(connect(shop.nodes[0]), shop.platform, None).changed
    assert not switch_release(connect(shop.nodes[0]), shop.platform, None).changed
    assert shop.facts()["web1"].current is None
    with pytest.raises(CommandFailed, match="not complete"):
        switch_release(connect(shop.nodes[0]), shop.platform, "20200101000000-000000000000")


def test_only_five_are_kept(shop: Shop) -> None:
    for number in range(7):
        (shop.source / "web/version").write_text(str(number))
        plan = shop.deploy()
    names = [r.name for r in shop.facts()["web1"].releases]
    assert len(names) == 5
    assert plan.release in names
    with pytest.raises(CommandFailed, match="is current"):
        prune_releases(connect(shop.nodes[0]), shop.platform, [plan.release])


def test_links_to_sites_are_neither_drift_nor_followed(shop: Shop, docker_exec: Exec) -> None:
    docker_exec(
        "web1",
        "sh",
        "-c",
        "mkdir -p /var/aegir/sites/a.org/files && echo data >/var/aegir/sites/a.org/files/x",
    )
    links = {"web/sites/a.org": "/var/aegir/sites/a.org"}
    one = shop.deploy(links)
    assert live(docker_exec, shop, "web1", "web/sites/a.org/files/x") == "data\n"
    for node in shop.nodes:
        link = ("ln", "-s", "/var/aegir/sites/b.org", here(shop, "current/web/sites/b.org"))
        connect(node).run(link)
    shop.check(one, shop.build())
    (shop.source / "web/file1.php").write_text("two")
    two = shop.deploy(links)
    assert docker_exec("web1", "ls", here(shop, "current/web/sites")).split() == ["a.org", "default"]
    # The tree that had the links goes, what they lead to stays.
    for node in shop.nodes:
        prune_releases(connect(node), shop.platform, [one.release])
    shop.check(two, shop.build())
    assert docker_exec("web1", "cat", "/var/aegir/sites/a.org/files/x") == "data\n"
    docker_exec("web1", "rm", "-rf", "/var/aegir/sites/a.org")
    (shop.source / "web/file1.php").write_text("three")
    with pytest.raises(PlanRefused, match="no data directory"):
        shop.deploy({"web/x": "/etc"})


def test_tampering_is_found_named_and_repaired(shop: Shop, docker_exec: Exec) -> None:
    one, built = shop.deploy(), shop.build()
    docker_exec(
        "web3",
        "sh",
        "-c",
        f"cd {here(shop, 'current/web')} && echo evil >>file7.php && touch shell.php && rm file8.php",
    )
    assert not shop.facts()["web1"].by_name[one.release].drifted
    assert shop.facts()["web3"].by_name[one.release].drifted
    with pytest.raises(
        Drift, match=r"1 missing: 'web/file8.php'; 1 extra: 'web/shell.php'; 1 changed: 'web/file7.php'"
    ):
        verify_release(connect(shop.nodes[1]), shop.platform, one.release, built.manifest)
    two = shop.deploy()
    assert two.release != one.release
    assert two.for_host("web1").base == one.release
    assert two.for_host("web3").base is None
    shop.check(two, built)


def test_tampering_that_keeps_size_and_time_is_found_by_the_full_check(shop: Shop, docker_exec: Exec) -> None:
    plan, built = shop.deploy(), shop.build()
    file = here(shop, "current/web/file7.php")
    docker_exec(
        "web1",
        "sh",
        "-c",
        f"touch -r {file} /tmp/t; printf X | dd of={file} conv=notrunc 2>/dev/null; touch -r /tmp/t {file}",
    )
    with pytest.raises(Drift, match=r"1 changed: 'web/file7.php'"):
        verify_release(connect(shop.nodes[0]), shop.platform, plan.release, built.manifest)


def test_a_source_that_changes_under_way_is_not_switched(shop: Shop) -> None:
    built = shop.build()
    plan = shop.plan(built)
    (shop.source / "web/file1.php").write_text("<?php // 2\n" * 50)
    with pytest.raises(Drift, match=r"arrived differently .contents.*1 changed: 'web/file1.php'"):
        shop.stage(shop.nodes[0], plan, built)
    (shop.source / "web/file2.php").unlink()
    with pytest.raises((CommandFailed, Drift), match=r"the source changed while it was copied|1 missing"):
        shop.stage(shop.nodes[0], plan, built)
    assert shop.facts()["web1"].current is None
    shop.check(shop.deploy(), shop.build())


def test_without_the_manifests_here_they_are_read_from_a_node(shop: Shop) -> None:
    one = shop.deploy()
    shop.work = shop.work.with_name("another controller")
    (shop.source / "web/file1.php").write_text("two")
    two = shop.deploy()
    assert {part.base for part in two.hosts} == {one.release}
