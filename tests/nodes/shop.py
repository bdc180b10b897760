"""One platform on some nodes, deployed as the flow does it, without the flow."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tasks.code import describe_release
from tasks.code.apply import prune_releases, stage_release, switch_release, verify_release
from tasks.code.build import Built, build_release, load_manifest
from tasks.code.facts import CodeFacts, read_code_facts
from tasks.code.plan import plan_release
from tasks.code.release import ReleasePlan
from tasks.code.source import parse_source
from tasks.fleet import Node
from tasks.ssh import connect

ODD = [
    b"new\nline",
    b"\xff\xfe",
    b"x" * 255,
    b" ",
    b"-rf",
    b"#x",
    b";x",
    b"a\\b",
    b"'\";$(x)",
    b"cr\r",
    b"a\tb",
    b"*",
]
START = datetime(2026, 1, 1)


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
