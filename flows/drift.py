"""What a verification found to differ, said alike whatever differs, so that one report can hold all of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from flows.publish import Plan, publish_table
from tasks.code import ReleasePlan
from tasks.grants import GrantPlan
from tasks.nfs import ProvisionPlan
from tasks.outcome import Outcome
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


def publish_drift(
    about: str, plans: tuple[Plan, ...], read: Iterable[Outcome] = (), intact: Collection[str] = ()
) -> None:
    """Show everything that differs as the table `drift-<about>`, one row a node and difference.

    `read` are the failed Outcomes of reading every file, which say more than a plan does of the same host;
    `intact` are hosts whose release is as it was deployed, whatever the plan does to all of them.
    """
    files = {outcome.host: (outcome.error or "").removeprefix(f"{outcome.host}: ") for outcome in read}
    rows = [row for plan in plans for row in describe_drift(plan, {*intact, *files})]
    rows += [{"subject": "code", "host": host, "difference": text} for host, text in files.items()]
    publish_table("drift", about, rows, f"{len(rows)} difference(s)." if rows else "No drift.")


def describe_drift(plan: Plan, releases_known: Collection[str] = ()) -> Iterator[dict[str, str]]:
    """One row for each thing that the plan would put right; what it finds as it should be is left out.

    So are the releases of hosts of which more is known than that all hosts get a new one.
    """
    if not plan:
        return
    for row in plan.as_rows():
        left = dict(row)
        host = left.pop("host", "") or left.pop("account", "") or left.get("site", "")
        if isinstance(plan, ReleasePlan) and (
            host in releases_known or not (left["stage"] or left.get("switch from"))
        ):
            continue
        if isinstance(plan, FleetPlan | ProvisionPlan):
            order = left.pop("order")
            if not order and not left["step"].startswith("refused"):
                continue
        yield {"subject": SUBJECTS[type(plan)], "host": host, "difference": _tell(plan, left)}


def _tell(plan: Plan, row: dict[str, str]) -> str:
    if not isinstance(plan, ReleasePlan):
        return "; ".join(value for value in row.values() if value)
    current = row.get("switch from", "")
    if current == "nothing":
        return "there is no current release"
    return f"{current} is not as it was deployed" if current else row["stage"]
