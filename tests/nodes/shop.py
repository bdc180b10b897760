"""One platform on some nodes, deployed as the flow does it, without the flow."""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.code import describe_release
from tasks.code.apply import prune_releases, stage_release, switch_release, verify_release
from tasks.code.build import Built, build_release, load_manifest
from tasks.code.facts import CodeFacts, read_code_facts
from tasks.code.plan import plan_release
from tasks.code.release import ReleasePlan
from tasks.code.source import parse_source
from tasks.fleet import Node
from tasks.ssh import connect
from tests.nodes.prepared import prepared

START = datetime(2026, 1, 1)
Exec = Callable[..., str]
# A spare copy that is being made is waited for, and none is begun without `current`.
CLEAR = """
[ -d "$1/manifests" ] || exec rm -rf "$1"
rm -f "$1/current"
flock -w 60 "$1/manifests/.lock-spare" true
rm -rf "$1"
"""


@dataclass
class Shop:
    """One platform on some nodes, deployed as the flow does it, without the flow."""

    nodes: tuple[Node, ...]
    platform: str
    source: Path
    work: Path
    runs: int = 0

    def facts(self, audit: Any = "current", content: str = "") -> dict[str, CodeFacts]:
        with ThreadPoolExecutor(8) as pool:
            found = pool.map(lambda n: read_code_facts(connect(n), self.platform, audit, content), self.nodes)
        return dict(zip((n.name for n in self.nodes), found, strict=True))

    def build(self, **options: Any) -> Built:
        return build_release(parse_source(str(self.source)), options.pop("overlay", {}), self.work, **options)

    def plan(self, built: Built) -> ReleasePlan:
        self.runs += 1
        facts = self.facts(content=built.manifest.digest)
        desired = describe_release(built, self.platform, facts, self.nodes, self.work)
        return plan_release(self.platform, desired, facts, now=START + timedelta(minutes=self.runs))

    def stage(
        self, node: Node, plan: ReleasePlan, built: Built, links: Mapping[str, str] | None = None
    ) -> None:
        part = plan.for_host(node.name)
        base = load_manifest(self.work, part.base_content) if part.base else None
        overlay = built.overlay
        stage_release(
            connect(node), plan, built.tree, built.manifest, base=base, overlay=overlay, site_links=links
        )

    def deploy(self, links: Mapping[str, str] | None = None, **options: Any) -> ReleasePlan:
        built = self.build(**options)
        plan = self.plan(built)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: self.stage(n, plan, built, links), self.nodes))
        for node in self.nodes:
            if plan.for_host(node.name).switch:
                switch_release(connect(node), self.platform, plan.release)
            prune_releases(connect(node), self.platform, plan.for_host(node.name).prune)
        return plan

    def check(self, plan: ReleasePlan, built: Built) -> None:
        """Every node has what was built, byte for byte, and another run would do nothing."""
        for node in self.nodes:
            verify_release(connect(node), self.platform, plan.release, built.manifest)
        assert not self.plan(built), str(self.plan(built))


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


def big(shop: Shop, megabytes: int = 60) -> None:
    (shop.source / "big").mkdir(exist_ok=True)
    for number in range(megabytes):
        (shop.source / f"big/{number}").write_bytes(os.urandom(1 << 20))
