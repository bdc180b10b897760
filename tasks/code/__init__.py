"""Releases: built once here, staged, verified, switched, rolled back, pruned."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE

from tasks.code import apply
from tasks.code.build import Built, build_release, load_manifest, save_manifest
from tasks.code.change import Change, compare_manifests
from tasks.code.facts import Audit, CodeFacts, read_code_facts, read_manifest
from tasks.code.manifest import DamagedManifest, Manifest
from tasks.code.plan import plan_release, plan_rollback
from tasks.code.release import Desired, ReleasePlan, Size
from tasks.code.source import SourceSpec, parse_source
from tasks.errors import Drift, PackmasterError
from tasks.fleet import Node
from tasks.outcome import Outcome
from tasks.ssh import connect
from tasks.steps import fact_task, host_task

__all__ = [
    "Audit",
    "Built",
    "CodeFacts",
    "Desired",
    "Manifest",
    "ReleasePlan",
    "SourceSpec",
    "audit_release",
    "build_code",
    "describe_release",
    "parse_source",
    "plan_release",
    "plan_rollback",
    "prune",
    "read_code",
    "remove_code",
    "stage",
    "switch",
    "switch_back",
]

# A short transfer needs no artifact, and the API no more than one update in this many seconds.
PROGRESS_SECONDS = 2.0


@task(name="build release", task_run_name="build {spec}", cache_policy=NO_CACHE, persist_result=False)
def build_code(
    spec: SourceSpec,
    overlay: Mapping[str, bytes],
    workdir: Path,
    *,
    composer: bool = True,
    excluded: Iterable[str] = (),
) -> Built:
    """The source is a tree on the controller; see build.build_release. Raises PlanRefused, Unreachable."""
    built = build_release(spec, overlay, workdir, composer=composer, excluded=excluded)
    get_run_logger().info("built %s", built)
    return built


@fact_task("read releases", run_name="read releases of {platform} on {node.name}")
def read_code(node: Node, platform: str, audit: Audit = "current", content: str = "") -> CodeFacts:
    """What is there of the platform on the node; one round trip. See facts.read_code_facts."""
    return read_code_facts(connect(node), platform, audit, content)


@host_task("stage", run_name="stage {plan.release} on {node.name}")
def stage(
    node: Node,
    plan: ReleasePlan,
    built: Built,
    workdir: Path,
    site_links: Mapping[str, str] | None = None,
) -> Outcome:
    """The release is on the node and verified, but not current; the transfer's progress is an artifact."""
    part = plan.for_host(node.name)
    return apply.stage_release(
        connect(node),
        plan,
        built.tree,
        built.manifest,
        base=load_manifest(workdir, part.base_content) if part.base else None,
        overlay=built.overlay,
        site_links=site_links,
        on_progress=_publish_progress(node.name, plan),
    )


@fact_task("audit", run_name="audit {release} on {node.name}")
def audit_release(node: Node, platform: str, release: str, manifest: Manifest) -> str:
    """What differs in the release, every file of it read on the node; empty when nothing does."""
    try:
        outcome = apply.verify_release(connect(node), platform, release, manifest)
    except Drift as drift:
        get_run_logger().warning("%s", drift)
        return str(drift)
    get_run_logger().info("%s", outcome)
    return ""


@host_task("switch", run_name="switch {node.name} to {plan.release}")
def switch(node: Node, plan: ReleasePlan) -> Outcome:
    """`current` is the plan's release on the node."""
    return apply.switch_release(connect(node), plan.platform, plan.release)


@host_task("switch back", run_name="switch {node.name} back")
def switch_back(node: Node, plan: ReleasePlan) -> Outcome:
    """`current` is again what it was when the plan was made."""
    part = plan.for_host(node.name)
    if not part.switch:
        return Outcome(node.name, "switch back", detail="it was not to be switched")
    return apply.switch_release(connect(node), plan.platform, part.previous)


@host_task("prune", run_name="prune {plan.platform} on {node.name}")
def prune(node: Node, plan: ReleasePlan) -> Outcome:
    """What the plan says is too old is gone from the node."""
    return apply.prune_releases(connect(node), plan.platform, plan.for_host(node.name).prune)


@host_task("remove code", run_name="remove {platform} from {node.name}")
def remove_code(node: Node, platform: str) -> Outcome:
    """No release of the platform is left on the node."""
    return apply.remove_platform(connect(node), platform)


def describe_release(
    built: Built, platform: str, facts: Mapping[str, CodeFacts], nodes: Iterable[Node], workdir: Path
) -> Desired:
    """What `plan_release` has to know: the size of the release, and of its difference to each current one.

    A manifest that is not in the work directory is read from a node that has it; when that fails the release
    is sent whole there, which is slower and as right.
    """
    by_name = {node.name: node for node in nodes}
    bases: dict[str, Size] = {}
    for host, there in facts.items():
        current = there.current_release
        if current is None or current.drifted or current.content in bases:
            continue
        if current.content == built.manifest.digest:
            continue
        base = load_manifest(workdir, current.content)
        if base is None:
            base = _fetch_manifest(by_name[host], platform, current.name, current.content, workdir)
        if base is not None:
            bases[current.content] = _size_of(compare_manifests(base, built.manifest))
    full = Size(len(built.manifest), built.manifest.size)
    return Desired(built.manifest.digest, full, bases | {built.manifest.digest: Size(0, 0)})


def _fetch_manifest(node: Node, platform: str, release: str, content: str, workdir: Path) -> Manifest | None:
    try:
        manifest = read_manifest(connect(node), platform, release)
    except (DamagedManifest, PackmasterError):
        return None
    if manifest.digest != content:
        return None
    save_manifest(workdir, manifest)
    return manifest


def _size_of(change: Change) -> Size:
    return Size(len(change.sent), change.size)


def _publish_progress(host: str, plan: ReleasePlan) -> Callable[[int, int], None]:
    """A callback that keeps one progress artifact a host and platform, once a transfer is a long one."""
    key = re.sub(r"[^a-z0-9]+", "-", f"stage-{plan.platform}-{host}".lower())
    last, artifact = time.monotonic(), None

    def publish(percent: int, sent: int) -> None:
        nonlocal last, artifact
        now = time.monotonic()
        if now - last < PROGRESS_SECONDS and not (artifact and percent == 100):
            return
        last, said = now, f"{host}: {sent:,} bytes of {plan.release} sent"
        if artifact is None:
            made = create_progress_artifact(progress=float(percent), key=key, description=said)
            artifact = made if isinstance(made, UUID) else None
        else:
            update_progress_artifact(artifact, progress=float(percent), description=said)

    return publish
