"""resync-all: every cluster, pack and platform is compared with what is registered, and the drift reported.

Trigger: each night by its schedule (deployments/prefect.yaml says when); by hand after anything doubtful.
Effect: each cluster (services), pack (mounts, exports, services) and platform (code, every file of it, site
    data, grants, vhosts) gets a run of its own on the work pool, a few at once. Nothing is changed but where
    a platform's block says `repair` under *When it differs*: that run is verify-platform as one would run it
    by hand. The table `drift-everything` has one row for each node and difference, `packmaster.fleet.drift`
    is the event, and the overview is made anew. The run fails when one of its runs failed, and, as its
    schedule asks, when something differs that was only reported.
Rollback: none needed for what it reports; see verify-platform for what it repairs.
Safe to re-run? Yes, at any time; its runs wait for whatever works on the same machines.
3 a.m.: nothing is broken by a difference: sites are served as before. Read the table in the morning: each
    row says where, what, and which run found it. A run that failed is named with its message; the others
    are done. `no worker took it` means that the worker is dead, or runs only one at a time (it needs two);
    such a run is cancelled. One that `is still running` is not: it is named, and holds its locks.
"""

from __future__ import annotations

from typing import Annotated

from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from flows.operation import operation
from flows.overview import refresh_quietly
from flows.prepare_server import UnixId
from flows.publish import announce, conclude, publish_table
from flows.resync import Report, list_jobs, run_bounded
from tasks.errors import Drift
from tasks.outcome import Outcomes

ABOUT = "everything"


@operation("resync-all", runbook=__doc__, run_name="resync all")
def resync_all(
    at_once: Annotated[int, Field(ge=1, le=32)] = 4,
    minutes: Annotated[int, Field(ge=1, le=1440)] = 120,
    every_file: bool = True,
    uid: UnixId = 5000,
    gid: UnixId = 5000,
    fail_on_drift: bool = False,
    dry_run: bool = False,
) -> State[Outcomes]:
    """Compare every cluster, pack and platform with what is registered.

    Args:
        at_once: How many of its runs there may be at a time; the worker must run one more than that.
        minutes: How long one of its runs may take, with its wait for a worker and for other runs.
        every_file: Read the content of every file of every release, too.
        uid: Numeric user id of aegir, as prepare-server and provision-pack were given it.
        gid: Numeric group id of aegir, as prepare-server and provision-pack were given it.
        fail_on_drift: End as failed when something differs and was not repaired.
        dry_run: Only report, whatever the platforms' blocks say.
    """
    jobs = list_jobs(uid, gid, every_file=every_file, dry_run=dry_run)
    reports = run_bounded(jobs, at_once, minutes * 60)
    rows = publish_report(reports)
    refresh_quietly()
    outcomes = Outcomes(tuple(report.as_outcome() for report in reports))
    conclude(ABOUT, outcomes)
    left = sum(row["result"] == "reported" for row in rows)
    found = f"{left} difference(s) were found and not repaired; see the table drift-{ABOUT}"
    if fail_on_drift and left:
        raise Drift(found)
    repaired = f"{len(rows)} difference(s) were repaired" if rows else "no difference"
    looked_at = f"{len(reports)} cluster(s), pack(s) and platform(s)"
    return Completed(message=f"{looked_at}: {found if left else repaired}", data=outcomes)


def publish_report(reports: tuple[Report, ...]) -> list[dict[str, str]]:
    """One table of everything that differs, and one event when there is anything in it."""
    rows = [row for report in reports for row in report.as_rows()]
    failed = [report.job.title for report in reports if report.error]
    where = sorted({row["host"] for row in rows})
    headline = f"{len(rows)} difference(s) on {', '.join(where)}." if rows else "No drift."
    if failed:
        headline += f" NOT KNOWN of {', '.join(failed)}: the run failed."
    publish_table("drift", ABOUT, rows, headline)
    if rows or failed:
        shown = "\n".join(f"{row['host']}: {row['subject']}: {row['difference']}" for row in rows[:50])
        announce("fleet.drift", "fleet", {"headline": headline, "drift": shown, "failed": ", ".join(failed)})
    return rows
