"""Releases on real nodes: apache and nginx in parallel, killed, filled up, paused, tampered with."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.code import describe_release
from tasks.code.apply import prune_releases, stage_release, switch_release, verify_release
from tasks.code.build import load_manifest
from tasks.code.facts import read_code_facts, read_manifest
from tasks.code.plan import plan_release, plan_rollback
from tasks.errors import AccessDenied, CommandFailed, Drift, PlanRefused, Unreachable
from tasks.ssh import Ssh, connect
from tests.nodes.prepared import prepared
from tests.nodes.shop import ODD, START, Shop

Exec = Callable[..., str]
# A spare copy that is being made is waited for, and none is begun without `current`.
CLEAR = """
[ -d "$1/manifests" ] || exec rm -rf "$1"
rm -f "$1/current"
flock -w 60 "$1/manifests/.lock-spare" true
rm -rf "$1"
"""


@pytest.fixture
def shop(bed: Any, tmp_path: Path, request: pytest.FixtureRequest, docker_exec: Exec) -> Iterator[Shop]:
    source = tmp_path / "source"
    (source / "web/sites/default").mkdir(parents=True)
    (source / "empty").mkdir()
    for number in range(50):
        (source / f"web/file{number}.php").write_text(f"<?php // {number}\n" * 50)
    (source / "web/run").write_text("#!/bin/sh\n")
    (source / "web/run").chmod(0o4755)
    (source / "web/link").symlink_to("file1.php")
    nodes = prepared(bed, *getattr(request, "param", ("web1", "web3")))
    name = f"shop{os.getpid()}-{abs(hash(request.node.name)) % 10**6}"
    yield Shop(nodes, name, source, tmp_path / "work")
    for node in nodes:
        docker_exec(node.name, "sh", "-c", CLEAR, "sh", f"/var/aegir/platforms/{name}")


def live(docker_exec: Exec, shop: Shop, node: str, path: str) -> str:
    return docker_exec(node, "cat", f"/var/aegir/platforms/{shop.platform}/current/{path}")


def here(shop: Shop, *parts: str) -> str:
    return "/".join((f"/var/aegir/platforms/{shop.platform}", *parts))


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
    with pytest.raises((CommandFailed, Drift), match=r"a part was not transferred|vanished|1 missing"):
        shop.stage(shop.nodes[0], plan, built)
    assert shop.facts()["web1"].current is None
    shop.check(shop.deploy(), shop.build())


def test_without_the_manifests_here_they_are_read_from_a_node(shop: Shop) -> None:
    one = shop.deploy()
    shop.work = shop.work.with_name("another controller")
    (shop.source / "web/file1.php").write_text("two")
    two = shop.deploy()
    assert {part.base for part in two.hosts} == {one.release}


def big(shop: Shop, megabytes: int = 60) -> None:
    (shop.source / "big").mkdir(exist_ok=True)
    for number in range(megabytes):
        (shop.source / f"big/{number}").write_bytes(os.urandom(1 << 20))


CHILD = """
    import sys
    from datetime import datetime
    from pathlib import Path
    from pydantic import SecretStr
    from tasks.code.apply import stage_release
    from tasks.code.build import build_release
    from tasks.code.facts import read_code_facts
    from tasks.code.plan import plan_release
    from tasks.code.release import Desired, Size
    from tasks.code.source import parse_source
    from tasks.fleet import Node
    from tasks.ssh import connect

    source, work, platform, name, address, key, host_key = sys.argv[1:]
    node = Node(name, address, "apache", SecretStr(Path(key).read_text()), (host_key,))
    built = build_release(parse_source(source), {}, Path(work))
    desired = Desired(built.manifest.digest, Size(1, 1), {})
    facts = {name: read_code_facts(connect(node), platform)}
    plan = plan_release(platform, desired, facts, now=datetime(2026, 2, 1))
    print("go", flush=True)
    tell = lambda *progress: print(*progress, flush=True)
    stage_release(connect(node), plan, built.tree, built.manifest, on_progress=tell)
    print("staged", flush=True)
"""


def test_killed_in_the_middle_and_run_again(shop: Shop, bed: Any, docker_exec: Exec) -> None:
    big(shop)
    node = shop.nodes[0]
    argv = [str(shop.source), str(shop.work), shop.platform, node.name, node.address, str(bed.private_key)]
    killed = 0
    for progress in (0, 1, 10, 40):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CHILD), *argv, node.host_keys[0]],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        for line in child.stdout:
            words = line.split()
            if (
                words == ["staged"]
                or (words[0].isdigit() and int(words[0]) >= progress)
                or (words == ["go"] and not progress)
            ):
                break
        child.kill()
        child.wait()
        killed += words != ["staged"]
    assert killed >= 2
    left = shop.facts()[node.name]
    assert left.current is None
    shop.nodes = shop.nodes[:1]
    plan = shop.deploy()
    assert f".staging-{plan.release}" not in shop.facts()[node.name].leftovers
    assert plan.release.startswith("20260201"), "the half-staged release was continued"
    shop.check(plan, shop.build())
    # Nothing of the killed runs is left behind on this machine or the node.
    assert docker_exec(node.name, "find", here(shop), "-name", ".rsync-partial") == ""


@pytest.mark.parametrize("state", ["linking", "unnamed", "no manifest", "orphaned manifest", "trash"])
def test_killed_between_any_two_steps(shop: Shop, docker_exec: Exec, state: str) -> None:
    one = shop.deploy()
    (shop.source / "web/file1.php").write_text("two")
    two, built = shop.deploy(), shop.build()
    for node in shop.nodes:
        switch_release(connect(node), shop.platform, one.release)
    releases, manifests = here(shop, "releases"), here(shop, "manifests")
    release = f"{releases}/{two.release}"
    broken = {
        "linking": f"mv {release} {releases}/.linking-{two.release}; rm {manifests}/{two.release}",
        "unnamed": f"mv {release} {releases}/.staging-{two.release}; rm {manifests}/{two.release}",
        "no manifest": f"rm {manifests}/{two.release}",
        "orphaned manifest": f"mv {release} {releases}/.staging-{two.release}",
        "trash": f"mv {release} {releases}/.trash-{two.release}; rm {manifests}/{two.release}",
    }[state]
    docker_exec("web1", "sh", "-c", broken)
    shop.check(shop.deploy(), built)
    shop.deploy()
    assert not any(f.leftovers for f in shop.facts().values())


def test_a_full_disk(shop: Shop, docker_exec: Exec, bed: Any) -> None:
    big(shop, 30)
    node, built = shop.nodes[0], shop.build()
    # The mount namespace of the container is entered from outside, for a container may not mount.
    pid = subprocess.run(
        ["docker", "inspect", "-f", "{{.State.Pid}}", f"{bed.project}-{node.name}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    enter = ["nsenter", "-t", pid, "-m", "-p", "--"]
    docker_exec(node.name, "install", "-d", "-o", "aegir", "-g", "aegir", here(shop))
    mounted = subprocess.run(
        [*enter, "mount", "-t", "tmpfs", "-o", "size=20m,uid=5000,gid=5000,mode=755", "tmpfs", here(shop)],
        check=False,
    )
    if mounted.returncode:
        pytest.skip("this machine does not let a test mount a file system in a container")
    try:
        with pytest.raises(PlanRefused, match=r"web1: [0-9,]+ bytes of disk are left"):
            shop.plan(built)
        free = {name: replace(f, free_bytes=None) for name, f in shop.facts().items()}
        desired = describe_release(built, shop.platform, free, shop.nodes, shop.work)
        plan = plan_release(shop.platform, desired, free, now=START)
        with pytest.raises(CommandFailed, match="the node's disk is full"):
            shop.stage(node, plan, built)
        shop.stage(shop.nodes[1], plan, built)
        subprocess.run([*enter, "mount", "-o", "remount,size=200m", here(shop)], check=True)
        shop.check(shop.deploy(), built)
    finally:
        subprocess.run([*enter, "umount", "-l", here(shop)], check=False)


def test_a_node_that_hangs_in_the_middle(
    shop: Shop, docker_pause: Callable[[str], None], docker_unpause: Callable[[str], None]
) -> None:
    big(shop, 200)
    node, built = shop.nodes[0], shop.build()
    plan, paused = shop.plan(built), []

    def pause(percent: int, _sent: int) -> None:
        if not paused:
            paused.append(percent)
            docker_pause(node.name)

    started = time.monotonic()
    with pytest.raises(Unreachable, match="web1"):
        stage_release(connect(node), plan, built.tree, built.manifest, on_progress=pause)
    assert time.monotonic() - started < 60
    assert paused
    docker_unpause(node.name)
    shop.check(shop.deploy(), built)


def test_a_wrong_host_key_sends_nothing(shop: Shop, docker_exec: Exec) -> None:
    from tasks.code.rsync import transfer

    stranger = replace(shop.nodes[0], host_keys=shop.nodes[1].host_keys)
    with pytest.raises(AccessDenied, match="host key"):
        transfer(stranger, shop.source, [b"web/run"], "/var/aegir/platforms")
    with pytest.raises(AccessDenied, match="host key"):
        read_code_facts(Ssh(stranger), shop.platform)
    with pytest.raises(AccessDenied, match="login"):
        transfer(replace(shop.nodes[0], user="nobody"), shop.source, [b"web/run"], "/tmp")
    with pytest.raises(Unreachable):
        transfer(replace(shop.nodes[0], port=1), shop.source, [b"web/run"], "/tmp")
    assert docker_exec("web1", "ls", "/var/aegir/platforms/run", check=False) == ""


def test_a_platform_directory_that_is_not_ours(shop: Shop, docker_exec: Exec) -> None:
    docker_exec("web1", "install", "-d", "-m", "0755", here(shop))
    with pytest.raises(PlanRefused, match="may not be written to"):
        shop.deploy()
