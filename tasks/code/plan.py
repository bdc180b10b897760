"""From a manifest and what is on the nodes to a release plan. Pure: values in, value out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from tasks.code.facts import CodeFacts, check_release
from tasks.code.release import Desired, HostPlan, ReleasePlan, Size
from tasks.errors import PlanRefused

KEEP = 5
# A deletion has a budget: more than this at once is left for the next run.
MOST_PRUNED = 10
# What a release takes beyond its content: half-filled blocks, the manifest, a little air for the node.
BLOCK_BYTES = 4096
SPARE_BYTES = 16 * 1024 * 1024
SPARE_INODES = 100


def plan_release(
    platform: str,
    desired: Desired,
    facts: Mapping[str, CodeFacts],
    *,
    now: datetime,
    missing: Sequence[str] = (),
    quorum: int | None = None,
    keep: int = KEEP,
) -> ReleasePlan:
    """Plan that every host of `facts` has the desired release and it is current there.

    `missing` are members that could not be read. `quorum` is how many hosts must take part (all, when None).
    A release or a half-staged one with the same content keeps its name. Raises PlanRefused below the quorum,
    and when a host has not the space or may not be written to.
    """
    needed = len(facts) + len(missing) if quorum is None else quorum
    _check_quorum(platform, facts, missing, needed)
    release = _choose_name(desired.content, facts, now)
    hosts = tuple(_plan_host(host, release, desired, facts[host], keep) for host in sorted(facts))
    _refuse_full_disks(platform, hosts, facts)
    return ReleasePlan(platform, release, desired.content, hosts, needed, tuple(missing))


def plan_rollback(
    platform: str,
    facts: Mapping[str, CodeFacts],
    *,
    to: str | None = None,
    missing: Sequence[str] = (),
    quorum: int | None = None,
) -> ReleasePlan:
    """Plan that every host goes back to `to`, or to the newest release older than any current one.

    Only a verified release that all hosts have, with the same content, and that nobody changed since is
    taken; read the facts with `audit="all"` to know the latter. Nothing is staged or pruned. Raises
    PlanRefused.
    """
    needed = len(facts) + len(missing) if quorum is None else quorum
    _check_quorum(platform, facts, missing, needed)
    common = _common_releases(facts)
    if to is not None:
        if check_release(to) not in common:
            raise PlanRefused(
                f"{platform}: not every host has an intact release {to}",
                f"Releases that all have: {', '.join(sorted(common)) or 'none'}",
            )
        release = to
    else:
        current = [f.current for f in facts.values() if f.current]
        older = sorted(name for name in common if not current or name < max(current))
        if not older:
            raise PlanRefused(
                f"{platform}: there is no older release that all hosts have", "Deploy the wanted code instead"
            )
        release = older[-1]
    hosts = tuple(
        HostPlan(host, switch=facts[host].current != release, previous=facts[host].current)
        for host in sorted(facts)
    )
    return ReleasePlan(platform, release, common[release], hosts, needed, tuple(missing))


def _plan_host(host: str, release: str, desired: Desired, facts: CodeFacts, keep: int) -> HostPlan:
    own = facts.by_name.get(release)
    stage = own is None or not own.verified
    current = facts.current_release
    base = current if stage and current is not None and not current.drifted else None
    if base is not None and base.content not in desired.bases:
        base = None
    return HostPlan(
        host,
        stage=stage,
        base=base.name if base else None,
        base_content=base.content if base else "",
        size=(desired.bases[base.content] if base else desired.full) if stage else Size(0, 0),
        switch=facts.current != release,
        previous=facts.current,
        prune=_plan_prune(release, facts, keep),
    )


def _plan_prune(release: str, facts: CodeFacts, keep: int) -> tuple[str, ...]:
    """The oldest releases beyond `keep`, and left-overs of others; never the current or the new one."""
    staying = {name for name in (release, facts.current) if name}
    others = sorted(r.name for r in facts.releases if r.name not in staying and r.verified and not r.drifted)
    kept = others[max(len(others) - max(keep - len(staying), 0), 0) :]
    old = [r.name for r in facts.releases if r.name not in staying and r.name not in kept]
    left = [name for name in facts.leftovers if name != f".staging-{release}"]
    return tuple(sorted(left) + sorted(old))[:MOST_PRUNED]


def _choose_name(content: str, facts: Mapping[str, CodeFacts], now: datetime) -> str:
    """The name most hosts have for this content (the newest of equals), else a half-staged one, or a new."""
    releases = [r for f in facts.values() for r in f.releases]
    spoiled = {r.name for r in releases if r.drifted or (r.verified and r.content != content)}
    counts: dict[str, int] = {}
    for release in releases:
        if release.content == content and release.name not in spoiled:
            counts[release.name] = counts.get(release.name, 0) + 1
    if counts:
        return max(counts, key=lambda name: (counts[name], name))
    left = [name for f in facts.values() for name in f.leftovers]
    half = [name.removeprefix(".staging-") for name in left if name.startswith(".staging-")]
    half += [r.name for r in releases if not r.verified]
    mine = sorted(name for name in half if name.endswith(f"-{content[:12]}") and name not in spoiled)
    live = {f.current for f in facts.values()}
    mine = [name for name in mine if name not in live]
    return mine[-1] if mine else f"{now:%Y%m%d%H%M%S}-{content[:12]}"


def _common_releases(facts: Mapping[str, CodeFacts]) -> dict[str, str]:
    """Verified, undamaged releases that all hosts have with the same content: name -> content."""
    intact = [
        {(r.name, r.content) for r in f.releases if r.verified and not r.drifted} for f in facts.values()
    ]
    return dict(set.intersection(*intact)) if intact else {}


def _check_quorum(platform: str, facts: Collection[str], missing: Sequence[str], needed: int) -> None:
    if not facts or len(facts) < needed or needed < 1:
        raise PlanRefused(
            f"{platform}: {len(facts)} host(s) can be read and {needed} are needed "
            f"(not read: {', '.join(missing) or 'none'})",
            "Repair or take out the hosts that do not answer, or ask for a smaller quorum (at least 1)",
        )


def _refuse_full_disks(platform: str, hosts: Sequence[HostPlan], facts: Mapping[str, CodeFacts]) -> None:
    problems = []
    for host in hosts:
        if not host.stage:
            continue
        there = facts[host.host]
        space = host.size.bytes + host.size.files * BLOCK_BYTES + SPARE_BYTES
        inodes = host.size.files + SPARE_INODES
        if there.not_writable:
            problems.append(f"{host.host}: {there.not_writable} may not be written to by the platform user")
        elif there.free_bytes is not None and there.free_bytes < space:
            problems.append(f"{host.host}: {there.free_bytes:,} bytes of disk are left, {space:,} are needed")
        elif there.free_inodes is not None and there.free_inodes < inodes:
            problems.append(f"{host.host}: {there.free_inodes:,} inodes are left, {inodes:,} are needed")
    if problems:
        raise PlanRefused(
            f"{platform} cannot be staged:\n  " + "\n  ".join(problems) + "\n",
            "Nothing was touched. Make room (releases are in platforms/*/releases), or run prepare-server",
        )
