"""What a verification found to differ, said alike whatever differs, so that one report can hold all of it."""

from __future__ import annotations

from collections.abc import Iterator

from flows.publish import Plan, publish_table
from tasks.code import ReleasePlan
from tasks.grants import GrantPlan
from tasks.nfs import ProvisionPlan
from tasks.outcome import Outcomes
from tasks.packs.plan import FollowPlan
from tasks.servers import FleetPlan
from tasks.sites import SitePlan
from tasks.web import WebPlan

# What an operator calls what a plan is about.
SUBJECTS: dict[type, str] = {
    ReleasePlan: "code",
    FollowPlan: "code",
    WebPlan: "vhosts",
    SitePlan: "site data",
    GrantPlan: "grants",
    ProvisionPlan: "mounts",
    FleetPlan: "services",
}


def publish_drift(about: str, plans: tuple[Plan, ...], checked: Outcomes | None = None) -> None:
    """Show everything that differs as the table `drift-<about>`, one row a node and difference.

    `checked` are the Outcomes of reading every file: those that failed say what differs.
    """
    rows = [row for plan in plans for row in describe_drift(plan)]
    failed = checked.failed if checked is not None else ()
    rows += [{"subject": "code", "host": o.host, "difference": (o.error or "").strip()} for o in failed]
    publish_table("drift", about, rows, f"{len(rows)} difference(s)." if rows else "No drift.")


def describe_drift(plan: Plan) -> Iterator[dict[str, str]]:
    """One row for each thing that the plan would put right; what it finds as it should be is left out."""
    if not plan:
        return
    for row in plan.as_rows():
        left = dict(row)
        host = left.pop("host", "") or left.pop("account", "") or left.get("site", "")
        if isinstance(plan, ReleasePlan) and not _lacks(plan, host):
            continue
        if isinstance(plan, FleetPlan | ProvisionPlan):
            order = left.pop("order")
            if not order and not left["step"].startswith("refused"):
                continue
        yield {"subject": SUBJECTS[type(plan)], "host": host, "difference": _tell(plan, host, left)}


def _lacks(plan: ReleasePlan, host: str) -> bool:
    """Whether the code on a host is not what it should be. An intact release may get a new name all the same,
    when another host's is spoiled: all have one name for it.
    """
    part = plan.for_host(host)
    return (part.stage or part.switch) and part.base_content != plan.content


def _tell(plan: Plan, host: str, row: dict[str, str]) -> str:
    if isinstance(plan, ReleasePlan):
        previous = plan.for_host(host).previous
        return f"the release {previous} is not as it was deployed" if previous else "there is no release"
    return "; ".join(value for value in row.values() if value)
