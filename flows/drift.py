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
    about: str,
    plans: tuple[Plan, ...],
    read: Iterable[Outcome] = (),
    intact: Collection[str] = (),
    doubts: Iterable[Outcome] = (),
) -> None:
    """Show everything that differs as the table `drift-<about>`, one row a node and difference.

    `read` are the failed Outcomes of reading every file, which say more than a plan does of the same host;
    `intact` are hosts whose release is as it was deployed, whatever the plan does to all of them; `doubts`
    are Outcomes of hosts of which less is known than was asked for, and nothing better is claimed of them.
    """
    files = {outcome.host: (outcome.error or "").removeprefix(f"{outcome.host}: ") for outcome in read}
    rows = [row for plan in plans for row in describe_drift(plan, {*intact, *files})]
    rows += [{"subject": "code", "host": host, "difference": text} for host, text in files.items()]
    publish_table("drift", about, rows, sum_up(len(rows), doubts))


def sum_up(differences: int, doubts: Iterable[Outcome]) -> str:
    """How much was found to differ, and what was not looked at: without that, there is no drift."""
    unknown = [f"{outcome.host} {outcome.detail}" for outcome in doubts]
    if differences or not unknown:
        return "; ".join([f"{differences} difference(s)" if differences else "No drift", *unknown]) + "."
    return "; ".join(["Nothing differs in what was read", *unknown]) + "."


def describe_drift(plan: Plan, releases_known: Collection[str] = ()) -> Iterator[dict[str, str]]:
    """One row for each thing that the plan would put right; what it finds as it should be is left out.

    So are the releases of hosts of which more is known than that all hosts get a new one.
    """
    if not plan:
        return
    for row in plan.as_rows():
        left = dict(row)
        host = left.pop("host", "") or left.pop("account", "") or left.get("site", "")
        if isinstance(plan, ReleasePlan) and (host in releases_known or not _differs(plan, host)):
            continue
        if isinstance(plan, FleetPlan | ProvisionPlan):
            order = left.pop("order")
            if not order and not left["step"].startswith("refused"):
                continue
        yield {"subject": SUBJECTS[type(plan)], "host": host, "difference": _tell(plan, host, left)}


def _differs(plan: ReleasePlan, host: str) -> bool:
    """Whether the code on a host is not what it should be, or unknown.

    An intact release gets a new name all the same when another host's is spoiled: all have one name for it.
    """
    part = plan.for_host(host)
    return host in plan.missing or ((part.stage or part.switch) and part.base_content != plan.content)


def _tell(plan: Plan, host: str, row: dict[str, str]) -> str:
    if not isinstance(plan, ReleasePlan):
        return "; ".join(value for value in row.values() if value)
    if host in plan.missing:
        return row["step"]
    part = plan.for_host(host)
    if part.previous and (part.base or not part.stage):
        return f"{part.previous} is current, and not {plan.release} as elsewhere"
    return f"{part.previous} is not as it was deployed" if part.previous else "there is no current release"
