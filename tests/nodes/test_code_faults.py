"""Releases that do not arrive: killed, filled up, paused, kept out. And then, on the next run, they do."""

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tasks.code import describe_release, parcel
from tasks.code.apply import stage_release, switch_release, verify_release
from tasks.code.facts import read_code_facts
from tasks.code.plan import plan_release
from tasks.errors import AccessDenied, CommandFailed, PlanRefused, Unreachable
from tasks.ssh import Ssh, connect
from tests.nodes.shop import START, Exec, Shop, big, here, shop

__all__ = ["shop"]

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


@pytest.mark.parametrize("most", [0, parcel.PAYLOAD_BYTES], ids=["in steps", "in one round trip"])
def test_a_connection_lost_at_the_very_end(shop: Shop, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """The release is there, and the next attempt of the same task does not know it yet."""
    monkeypatch.setattr(parcel, "PAYLOAD_BYTES", most)
    node = shop.nodes[0]
    for content in ("one", "two"):
        (shop.source / "web/file1.php").write_text(content)
        built = shop.build()
        plan = shop.plan(built)
        for _attempt in range(2):
            shop.stage(node, plan, built)
        switch_release(connect(node), shop.platform, plan.release)
        verify_release(connect(node), shop.platform, plan.release, built.manifest)
    (shop.source / "web/file1.php").write_text("of another run, in the same second")
    with pytest.raises(CommandFailed, match="there is another release"):
        shop.stage(node, replace(shop.plan(shop.build()), release=plan.release), shop.build())


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
        # A full disk needs one of its own; the rest of the suite runs without that privilege.
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
