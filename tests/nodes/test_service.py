"""Packmaster as other systems use it: with nothing but HTTP, behind a login; and what the server keeps."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from flows.locks import lock_name
from tests.nodes.kept import find, read_kept, spell
from tests.nodes.service import LOGIN, POOL, Service
from tests.nodes.service_shop import PASSWORD, SITE, account, named, ready, service, shop, source
from tests.nodes.sources import Sources

__all__ = ["account", "ready", "service", "shop", "source"]

CODE = "/var/aegir/platforms/svc-shop/current"
HOOK = "token=planted-webhook-secret-77c1~%2B"


def test_nobody_gets_in_without_a_login(service: Service) -> None:
    assert service.get("/health", login="").status_code == 200
    for login in ("", "admin:wrong"):
        assert service.get("/deployments/name/add-site/add-site", login=login).status_code == 401
        assert service.get("/csrf-token?client=tests", login=login).status_code == 401
        token = service.token()
        assert service.post("/flow_runs/filter", {}, login=login, token=token).status_code == 401
    assert service.post("/flow_runs/filter", {}).status_code == 403, "without a CSRF token"
    found = service.get("/deployments/name/add-site/add-site").json()
    assert found["description"].startswith("add-site: ")
    for example in ("run_flow.sh", "run_flow.py"):
        stranger = Service(service.home, service.port, service.listener)
        stranger.environment |= {"PREFECT_API_AUTH_STRING": "admin:wrong"}
        assert "401" in stranger.example(example, "add-site", "{}", check=False)


def test_the_doctor_is_content(shop: Service) -> None:
    said = shop.packmaster("doctor", "--pool", POOL)
    assert "ok       worker: w1, w2 on the pool service" in said
    assert "nothing is missing" in said.splitlines()


WANTED = {"platform": "x", "source": "/s", "target": named("cluster", "svc-web")}
BAD = {
    "a field that is missing": ({"source": "/srv/x"}, "'platform' is a required property"),
    "a wrong type": ({**WANTED, "platform": 5}, "5 is not of type"),
    "a field too many": ({**WANTED, "tarjet": 1}, "tarjet"),
    "a password": ({**WANTED, "source": "https://me:pw@git.example.org/x.git"}, "does not match"),
    "out of bounds": ({**WANTED, "keep_releases": 99}, "99 is greater than the maximum of 50"),
}


@pytest.mark.parametrize("mistake", BAD)
def test_bad_parameters_are_refused_with_words(service: Service, mistake: str) -> None:
    parameters, words = BAD[mistake]
    path = f"/deployments/{service.deployment('create-platform')}/create_flow_run"
    refused = service.post(path, {"parameters": parameters}, token=service.token())
    assert refused.status_code == 409, refused.text
    assert words in refused.text
    said = service.example("run_flow.py", "create-platform", json.dumps(parameters), check=False)
    assert words in said


def test_a_request_that_is_no_request_is_refused_with_words(service: Service) -> None:
    path = f"/deployments/{service.deployment('create-platform')}/create_flow_run"
    refused = service.post(path, {"parameters": "platform=x"}, token=service.token())
    assert refused.status_code == 422
    assert "Input should be a valid dictionary" in refused.text


def test_two_workers_on_one_cluster_work_one_after_the_other(shop: Service) -> None:
    """By what was recorded: both ran at the same time, and no task of the one while the other's did."""
    lock = f"/v2/concurrency_limits/{lock_name('server', 'web3')}"
    with Sources().served("127.0.0.1") as sources:
        source = sources.offer("svc-waits", held=True)
        wanted = {"platform": "svc-waits", "target": named("cluster", "svc-web"), "dry_run": True, **source}
        first = shop.begin("create-platform", wanted)
        shop.wait(lambda: shop.get(lock).json()["active_slots"] == 1, 300)
        second = shop.begin("prepare-server", {"servers": ["web3"], "dry_run": True}, "second")
        said = f"is held by the run {shop.get(f'/flow_runs/{first}').json()['name']}"
        mine = {"logs": {"flow_run_id": {"any_": [second]}}}
        shop.wait(lambda: any(said in line["message"] for line in shop.filter("logs", mine)), 300)
        sources.release("svc-waits")
    one, two = shop.finish(first), shop.finish(second)
    assert one["start_time"] < two["start_time"] < one["end_time"] < two["end_time"]
    assert (one["work_queue_name"], two["work_queue_name"]) == ("default", "second")
    assert one["infrastructure_pid"] != two["infrastructure_pid"]
    assert max(task["end_time"] for task in tasks_of(shop, first)) <= min(
        task["start_time"] for task in tasks_of(shop, second)
    )


def tasks_of(service: Service, run: str) -> list[dict[str, Any]]:
    """The tasks of a run; they are recorded with a delay."""

    def recorded() -> list[dict[str, Any]]:
        found = service.filter("task_runs", {"flow_runs": {"id": {"any_": [run]}}})
        return found if all(task["end_time"] for task in found) else []

    tasks: list[dict[str, Any]] = service.wait(recorded, 180)
    return tasks


def fill_in(service: Service, name: str) -> None:
    """Give a webhook block its address, as the UI does when a person has typed it."""
    block = service.get(f"/block_types/slug/webhook/block_documents/name/{name}").json()["id"]
    body = {"data": {"url": f"{service.listener.url}?{HOOK}"}, "merge_existing_data": True}
    filled = service.ask("PATCH", f"/block_documents/{block}", body, token=service.token())
    assert filled.status_code == 204, filled.text


def test_the_night_reports_what_somebody_did_by_hand(shop: Service, docker_exec: Any) -> None:
    for block in ("packmaster-webhook", "packmaster-events"):
        fill_in(shop, block)
    assert "create    automation packmaster: tell of" in shop.packmaster("bootstrap", "--pool", POOL)
    docker_exec("web3", "sh", "-c", f"echo '<?php // by hand' > {CODE}/lib.php")
    docker_exec("web1", "service", "php8.2-fpm", "stop")
    try:
        said = shop.example("run_flow.py", "resync-all", '{"fail_on_drift": true}', check=False)
    finally:
        docker_exec("web1", "service", "php8.2-fpm", "start")
    # The cluster whose server does not answer is named, and kept nobody else from being looked at.
    assert "outcome-everything\tcluster svc-lost\tprepare-server\tfailed" in said
    assert re.search("lost1 cannot be reached: .* Connection refused", said), said
    assert "platform svc-shop: verify-platform: Failed" not in said
    rows = {(row["of"], row["host"], row["subject"]): row for row in shop.rows("drift-everything")}
    code = rows["platform svc-shop", "web3", "code"]
    assert code["result"] == "reported"
    assert "'lib.php'" in code["difference"]
    assert ("cluster svc-web", "web1", "services") in rows
    assert ("platform svc-shop", "web1", "code") not in rows
    assert docker_exec("web3", "cat", f"{CODE}/lib.php") == "<?php // by hand\n"
    wanted = {"packmaster.fleet.drift", "prefect.flow-run.Failed"}
    shop.wait(lambda: wanted <= {heard["event"] for heard in shop.listener.heard}, 180)
    told = {heard["event"]: heard for heard in shop.listener.heard}
    payload = told["packmaster.fleet.drift"]["payload"]
    assert "web3: code:" in payload["drift"]
    assert payload["failed"] == "cluster svc-lost"
    assert shop.listener.paths == {f"/hook?{HOOK}"}


def test_somebody_is_told_that_nothing_runs_any_more(shop: Service) -> None:
    """Nobody schedules anything here: after one run of check-share there is silence."""
    named_so = "packmaster: tell that nothing runs any more"
    (silence,) = [each for each in shop.filter("automations", {}) if each["name"] == named_so]
    assert silence["trigger"]["within"] == 900
    silence["trigger"]["within"] = 10
    kept = {key: silence[key] for key in ("name", "description", "enabled", "trigger", "actions", "tags")}
    assert shop.ask("PUT", f"/automations/{silence['id']}", kept, token=shop.token()).is_success
    shop.example("run_flow.py", "check-share", "{}")
    shop.wait(lambda: "packmaster.watch.silent" in {heard["event"] for heard in shop.listener.heard}, 300)


def test_where_the_platform_says_so_it_is_repaired(shop: Service, docker_exec: Any) -> None:
    path = shop.home / "policy.yaml"
    path.write_text("platforms:\n  svc-shop: {on_drift: repair}\n")
    assert "on_drift: 'report' -> 'repair'" in shop.packmaster("inventory", "apply", str(path))
    shop.example("run_flow.py", "resync-all", "{}", check=False)
    rows = [row for row in shop.rows("drift-everything") if row["of"] == "platform svc-shop"]
    assert {row["result"] for row in rows} == {"repaired"}
    assert "that somebody may change" in docker_exec("web3", "cat", f"{CODE}/lib.php")


def test_an_unhealthy_share_is_looked_at_by_itself(service: Service) -> None:
    """The automation names the share of the event; that there is none here is the run's affair."""
    service.announce("share.unhealthy", "s1")
    of_it = {"deployments": {"id": {"any_": [service.deployment("repair-share")]}}}
    (run,) = service.wait(lambda: service.filter("flow_runs", of_it), 300)
    assert run["parameters"]["dry_run"] is True
    assert run["parameters"]["share"] == named("share", "s1")


def test_a_share_whose_policy_allows_it_is_failed_over_by_itself(service: Service) -> None:
    """The automation asks nobody; what may be done is the flow's affair."""
    of_it = {"deployments": {"id": {"any_": [service.deployment("failover-share")]}}}
    assert service.filter("flow_runs", of_it) == []
    service.announce("share.standby_wanted", "s1")
    (run,) = service.wait(lambda: service.filter("flow_runs", of_it), 300)
    assert run["parameters"]["automatic"] is True
    assert run["parameters"]["share"] == named("share", "s1")


def test_the_overview_shows_the_fleet(shop: Service) -> None:
    page = shop.get("/artifacts/overview/latest").json()["data"]
    assert "## Cluster svc-web" in page
    assert "data:image/svg+xml;base64," in page
    (row,) = [line for line in page.splitlines() if line.startswith("| svc-shop ")]
    assert SITE in row
    assert "not seen yet" not in row


def test_no_secret_is_anywhere_in_what_the_server_kept(shop: Service, bed: Any) -> None:
    """Parameters, results, logs, artifacts, events, blocks: in its files, its tables, and what it answers."""
    key = Path(bed.private_key).read_text().splitlines()[2:-1]
    (site,) = shop.get_secrets("packmaster-site")
    (server,) = shop.get_secrets("packmaster-database-server")
    (login,) = shop.get_secrets("packmaster-ssh-credentials")
    hooks = shop.get_secrets("webhook")
    # The server has them all, and gives them to whoever asks for secrets.
    assert server["admin_password"] == PASSWORD
    assert all(line in login["private_key"] for line in key)
    assert [hook["url"].partition("?")[2] for hook in hooks] == [HOOK, HOOK]
    assert len(site["database_password"]) >= 16
    secrets = {f"line {number} of the private key": line for number, line in enumerate(key, 3)}
    secrets |= {"the account's password": PASSWORD, "the webhook": HOOK, "its token": HOOK[6:]}
    secrets |= {"the site's password": site["database_password"], "the API's login": LOGIN}
    decoy = plant_decoy(shop)
    kept = read_kept(shop)
    # What is there is found, in every spelling, in the file, in the table and in the list.
    ways = {way for place, way in find(decoy, kept) if place == "/artifacts"}
    assert ways == set(spell(decoy))
    assert {"prefect/prefect.db-wal", "table artifact", "/artifacts/latest"} <= {
        p for p, _ in find(decoy, kept)
    }
    # The overview's picture is base64, and names the cluster.
    assert any(way.startswith("base64") for place, way in find("svc-web", kept) if place == "/artifacts")
    for known in ("table flow_run", "/flow_runs", "/task_runs", "/logs", "/events", "/block_documents"):
        assert find("svc-shop", {known: kept[known]}), f"{known} says nothing of what was run"
    assert not {(what, *found) for what, secret in secrets.items() for found in find(secret, kept)}


def plant_decoy(service: Service) -> str:
    """A text that is in an artifact in every spelling."""
    decoy = "decoy +/a?secret=77c1&<x>"
    text = " ".join(spelt.decode() for spelt in spell(decoy).values())
    body = {"key": "decoy", "type": "markdown", "data": text}
    assert service.post("/artifacts/", body, token=service.token()).status_code == 201
    return decoy
