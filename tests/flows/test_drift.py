"""One report of everything that differs, and the runs that find it: bounded, and each for itself."""

import threading
import time
from typing import Any

import httpx
import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Running, Scheduled
from pydantic import SecretStr

from blocks import Cluster, NfsServer, Pack, Platform, Share, SshCredentials, WebServer
from flows import resync
from flows.drift import describe_drift, sum_up
from flows.resync import Job, Report, judge, list_jobs, run_bounded
from flows.resync_all import publish_report
from tasks.code.release import HostPlan, ReleasePlan
from tasks.nfs.plan import ProvisionPlan
from tasks.outcome import Outcome
from tasks.servers.plan import FleetPlan, ServerPlan
from tasks.servers.steps import RunService


def test_only_what_differs_is_told() -> None:
    plan = FleetPlan(
        (ServerPlan("web1"), ServerPlan("web2", (RunService("apache2"),))), (("web3", "is old"),)
    )
    found = list(describe_drift(plan))
    assert [(row["subject"], row["host"]) for row in found] == [("services", "web3"), ("services", "web2")]
    assert found[0]["difference"] == "refused: is old"
    assert "apache2" in found[1]["difference"]
    assert not list(describe_drift(FleetPlan((ServerPlan("web1"),))))
    assert not list(describe_drift(ProvisionPlan("farm", 5000, 5000)))


def test_a_host_is_not_told_for_what_another_has_spoiled() -> None:
    intact = HostPlan("web1", stage=True, base="old", base_content="c1", switch=True, previous="old")
    spoiled = HostPlan("web2", stage=True, switch=True, previous="old")
    behind = HostPlan("web3", stage=True, base="older", base_content="c0", switch=True, previous="older")
    new = HostPlan("web5", stage=True, switch=True)
    plan = ReleasePlan("blog", "new", "c1", (intact, spoiled, behind, HostPlan("web4", prune=("x",)), new), 5)
    assert [(row["host"], row["difference"]) for row in describe_drift(plan)] == [
        ("web2", "old is not as it was deployed"),
        ("web3", "older is current, and not new as elsewhere"),
        ("web5", "there is no current release"),
    ]


def test_of_releases_those_that_differ_are_told_and_not_the_ones_that_follow() -> None:
    new, old = "20260102000000-aaaaaaaaaaaa", "20260101000000-aaaaaaaaaaaa"
    hosts = tuple(HostPlan(f"web{n}", stage=True, switch=True, previous=old) for n in (1, 2, 3))
    plan = ReleasePlan(
        "blog", new, "a" * 64, (*hosts, HostPlan("web4", stage=True, switch=True)), 4, ("web5",)
    )
    found = {row["host"]: row["difference"] for row in describe_drift(plan, {"web1", "web2"})}
    assert found == {
        "web3": f"{old} is not as it was deployed",
        "web4": "there is no current release",
        "web5": "cannot be read",
    }


def test_no_drift_is_claimed_only_when_everything_was_looked_at() -> None:
    doubt = Outcome("web2", "audit", detail="not audited: its manifest is away")
    assert sum_up(0, []) == "No drift."
    assert sum_up(0, [doubt]) == "Nothing differs in what was read; web2 not audited: its manifest is away."
    assert sum_up(2, [doubt]) == "2 difference(s); web2 not audited: its manifest is away."


ROW = {"subject": "code", "host": "web1", "difference": "is not as it was deployed"}


@pytest.mark.parametrize(
    ("repairs", "error", "result"),
    [(False, "", "reported"), (True, "", "repaired"), (True, "Failed: x", "not repaired: the run failed")],
)
def test_a_row_says_what_became_of_it(repairs: bool, error: str, result: str) -> None:
    job = Job("platform", "blog", "verify-platform", {}, repairs)
    report = Report(job, "resync platform blog", (ROW,), error)
    assert report.as_rows()[0]["result"] == result
    outcome = report.as_outcome()
    assert (outcome.host, outcome.ok, outcome.changed) == ("platform blog", not error, repairs and not error)


def test_runs_are_bounded_and_their_reports_in_order(
    prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside: list[str] = []
    most: list[int] = []
    lock = threading.Lock()

    @task(cache_policy=NO_CACHE)
    def slow(job: Job, seconds: float) -> Report:
        with lock:
            inside.append(job.name)
            most.append(len(inside))
        time.sleep(0.2)
        with lock:
            inside.remove(job.name)
        return Report(job, error="it failed" if job.name == "3" else "")

    monkeypatch.setattr(resync, "resync", slow)

    @flow
    def run() -> Any:
        return run_bounded([Job("platform", str(n), "verify-platform", {}) for n in range(7)], 3, 60)

    reports = run()
    assert [report.job.name for report in reports] == [str(n) for n in range(7)]
    assert [report.error for report in reports if report.error] == ["it failed"]
    assert max(most) == 3


def test_the_report_names_what_it_does_not_know(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, str]] = []
    monkeypatch.setattr("flows.resync_all.announce", lambda event, name, payload: told.append(payload))
    good = Report(Job("platform", "blog", "verify-platform", {}), "resync platform blog", (ROW,))
    bad = Report(Job("pack", "farm", "provision-pack", {}), error="Crashed: gone")

    @flow
    def run() -> Any:
        return publish_report((good, bad))

    assert [row["of"] for row in run()] == ["platform blog"]
    (payload,) = told
    assert payload["headline"] == "1 difference(s) on web1. NOT KNOWN of pack farm: the run failed."
    assert payload["drift"] == "web1: code: is not as it was deployed"
    assert bad.as_outcome() == Outcome("pack farm", "provision-pack", error="Crashed: gone")


@pytest.fixture
def quick(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Servers are asked again at once; gives the names of what was asked for."""
    monkeypatch.setattr(resync, "PAUSE_SECONDS", 0.0)
    return []


def lose(asked: list[str], times: int, answer: FlowRun) -> Any:
    """A `run_deployment` whose first answers are lost on the way."""

    def ask(name: str, **options: Any) -> FlowRun:
        asked.append(options["idempotency_key"])
        if len(asked) <= times:
            raise httpx.ReadError("connection reset")
        return answer

    return ask


def test_a_lost_answer_does_not_lose_the_report(quick: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job("platform", "blog", "verify-platform", {})

    @flow
    def run() -> Any:
        return run_bounded([job], 1, 60)

    with get_client(sync_client=True) as client:
        ended = client.create_flow_run(run, name="resync platform blog", state=Completed())
    monkeypatch.setattr(resync, "run_deployment", lose(quick, resync.TRIES - 1, ended))
    assert run() == (Report(job, "resync platform blog"),)
    assert len(quick) == resync.TRIES
    assert len(set(quick)) == 1, "asked again, it is the same run"


def test_a_server_that_is_gone_fails_that_job_alone(
    quick: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [Job("platform", name, "verify-platform", {}) for name in ("blog", "shop")]
    broken = ValueError("a bug")

    def ask(name: str, **options: Any) -> FlowRun:
        raise httpx.ConnectError("refused") if "blog" in options["flow_run_name"] else broken

    monkeypatch.setattr(resync, "run_deployment", ask)

    @flow
    def run() -> Any:
        return run_bounded(jobs, 1, 60)

    blog, shop = run()
    assert "ConnectError('refused')" in blog.error
    assert "the run `resync platform blog` may go on" in blog.error
    assert "ValueError('a bug')" in shop.error
    assert not blog.as_outcome().ok


def test_a_run_that_never_began_is_cancelled_and_one_that_did_is_named(prefect_server: str) -> None:
    @flow
    def nothing() -> None: ...

    with get_client(sync_client=True) as client:
        waiting = client.create_flow_run(nothing, state=Scheduled())
        assert judge(waiting, 7) == "it did not end within 7 s: no worker took it, so it was cancelled"
        state = client.read_flow_run(waiting.id).state
        assert state is not None
        assert state.is_cancelled()
        begun = client.create_flow_run(nothing, name="resync pack farm", state=Running())
        begun = client.read_flow_run(begun.id)
        assert judge(begun, 7) == "it did not end within 7 s: the run `resync pack farm` is still running"
        state = client.read_flow_run(begun.id).state
        assert state is not None
        assert state.is_running()


def test_everything_that_is_registered_is_looked_at(prefect_server: str) -> None:
    """A server in a cluster with it, one that carries a platform alone by itself, and packs by reference."""
    SshCredentials(private_key=SecretStr("key")).save("rsy-key")
    login = SshCredentials.load("rsy-key")
    machine = {"address": "192.0.2.1", "host_keys": ["ssh-ed25519 AAAA"], "credentials": login}
    for name in ("rsy-web1", "rsy-web2", "rsy-alone", "rsy-idle"):
        WebServer(kind="apache", **machine).save(name)
    NfsServer(**machine).save("rsy-nfs")
    Share(server=NfsServer.load("rsy-nfs")).save("rsy-share")
    Cluster(servers=["rsy-web1", "rsy-web2"]).save("rsy-web")
    Pack(master=WebServer.load("rsy-web1"), slaves=["rsy-web2"], share=Share.load("rsy-share")).save(
        "rsy-pack"
    )
    for name, target in (("rsy-blog", Cluster.load("rsy-web")), ("rsy-shop", WebServer.load("rsy-alone"))):
        Platform(target=target, source="/srv/x", on_drift="repair").save(name)
    found = {job.title: job for job in list_jobs(7, 8, every_file=True, dry_run=False) if "rsy-" in job.name}
    assert {title: job.deployment for title, job in found.items()} == {
        "cluster rsy-web": "prepare-server",
        "server rsy-alone": "prepare-server",
        "pack rsy-pack": "provision-pack",
        "platform rsy-blog": "verify-platform",
        "platform rsy-shop": "verify-platform",
    }
    ids = {"uid": 7, "gid": 8, "dry_run": True}
    assert found["cluster rsy-web"].parameters == {"servers": ["rsy-web1", "rsy-web2"], **ids}
    assert found["server rsy-alone"].parameters == {"servers": ["rsy-alone"], **ids}
    pack = Pack.load("rsy-pack")._block_document_id
    assert found["pack rsy-pack"].parameters == {"pack": {"$ref": {"block_document_id": str(pack)}}, **ids}
    assert found["platform rsy-shop"].repairs
    assert found["platform rsy-shop"].parameters["dry_run"] is False
    assert not [job.title for job in list_jobs(7, 8, every_file=True, dry_run=True) if job.repairs]
