"""Packmaster as other systems use it: with nothing but HTTP, behind a login; and what the server keeps."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from flows.locks import lock_name
from tasks.fleet import Database
from tasks.grants.connection import open_admin
from tests.nodes.databases import least_privileged
from tests.nodes.kept import find, read_kept, spell
from tests.nodes.prepared import KINDS
from tests.nodes.service import LOGIN, POOL, ROOT, Listener, Service, find_port

NODES = ("web1", "web3")
SITE = "shop.service.test"
CODE = "/var/aegir/platforms/svc-shop/current"
ACCOUNT = "packmaster_svc"
# Spelt so that JSON, a URL and base64 each write them differently.
PASSWORD = "pl4nted+db/pass=word&77c1"
HOOK = "token=planted-webhook-secret-77c1~%2B"


def named(kind: str, name: str) -> dict[str, Any]:
    """A block as a parameter, by its name."""
    return {"$ref": {"block_document_slug": f"packmaster-{kind}/{name}"}}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    # Another content each time: a kept bed may have the release of a run that was cut off.
    (folder / "index.php").write_text(f"<?php echo 'served {uuid.uuid4()}';")
    (folder / "lib.php").write_text("<?php // a file that somebody may change")
    return folder


def write_inventory(bed: Any, home: Path) -> Path:
    """Two nodes as a cluster, and another cluster of one server, on which nobody listens for SSH any more."""
    shutil.copy(bed.private_key, home / "key")
    (home / "password").write_text(PASSWORD)
    servers = {
        name: {"address": bed.addresses[name], "kind": KINDS[name], "credentials": "fleet",
               "host_keys": [bed.host_keys[name]]}
        for name in NODES
    }  # fmt: skip
    servers["lost1"] = {**servers["web1"], "ssh_port": 2}
    database = {"host": bed.db_host, "admin_user": ACCOUNT, "admin_password": {"file": "password"}}
    inventory = {
        "ssh_credentials": {"fleet": {"private_key": {"file": "key"}}},
        "web_servers": servers,
        "database_servers": {"svc-db": database},
        "clusters": {"svc-web": {"servers": list(NODES)}, "svc-lost": {"servers": ["lost1"]}},
    }
    (home / "inventory.yaml").write_text(json.dumps(inventory))
    return home / "inventory.yaml"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server that bootstrap made ready, and two workers of its pool, each with a queue of its own."""
    home = tmp_path_factory.mktemp("service")
    with Listener().listening() as listener:
        service = Service(home, find_port(), listener)
        try:
            service.start()
            service.packmaster("bootstrap", "--pool", POOL)
            for worker, queue in (("w1", "default"), ("w2", "second")):
                service.spawn(
                    worker, "worker", "start", "--pool", POOL, "--name", worker, "--work-queue", queue
                )
            yield service
        finally:
            service.stop()


@pytest.fixture(scope="module")
def account(bed: Any) -> Iterator[None]:
    """Packmaster's own account on the database server, with a password that is like no other text."""
    root = Database("db", bed.db_host, bed.db_admin_user, SecretStr(bed.db_admin_password), bed.db_port)
    least_privileged(root, bed.controller, ACCOUNT, PASSWORD)
    yield
    with closing(open_admin(root)) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP USER '{ACCOUNT}'@'{bed.controller}'")


@pytest.fixture(scope="module")
def ready(service: Service, bed: Any, account: None) -> Service:
    """The bed registered as an operator does it, and its nodes prepared."""
    said = service.packmaster("inventory", "apply", str(write_inventory(bed, service.home)))
    assert "7 of 7 changed" in said
    assert "create    lock packmaster-server-web1" in service.packmaster("bootstrap", "--pool", POOL)
    said = service.example("run_flow.sh", "prepare-server", json.dumps({"servers": list(NODES)}))
    assert "Completed: " in said
    return service


def words_of_the_readme(source: Path) -> list[str]:
    """What the README types to create a platform, about the platform, cluster and directory that are here."""
    text = (ROOT / "README.md").read_text()
    (typed,) = re.findall(r"^deployments/examples/run_flow\.sh (create-platform .*?)\n```", text, re.M | re.S)
    words = shlex.split(typed)
    wanted = json.loads(words[1])
    assert wanted["target"] == named("cluster", "web")
    wanted |= {"platform": "svc-shop", "source": str(source), "target": named("cluster", "svc-web")}
    return [words[0], json.dumps(wanted), *words[2:]]


@pytest.fixture(scope="module")
def shop(ready: Service, source: Path) -> Iterator[Service]:
    """A platform made by curl, and a site made by Python."""
    words = words_of_the_readme(source)
    first = ready.example("run_flow.sh", *words)
    assert "Completed: " in first
    assert "plan-deploy-svc-shop\tweb1\t" in first
    assert "outcome-deploy-svc-shop\tweb3\tswitch\tchanged" in first
    again = ready.example("run_flow.py", *words)
    assert again.splitlines()[0] == first.splitlines()[0], "one key, one run"
    site = {
        "uri": SITE,
        "platform": named("platform", "svc-shop"),
        "database": named("database-server", "svc-db"),
    }
    assert "Completed: " in ready.example("run_flow.py", "add-site", json.dumps(site))
    yield ready
    here = {"site": named("site", SITE.replace(".", "-"))}
    assert "Completed: " in ready.example("run_flow.sh", "remove-site", json.dumps(here))
    there = {"platform": named("platform", "svc-shop")}
    assert "Completed: " in ready.example("run_flow.sh", "remove-platform", json.dumps(there))


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


def test_two_workers_on_one_cluster_work_one_after_the_other(
    shop: Service, docker_pause: Callable[[str], None], docker_unpause: Callable[[str], None]
) -> None:
    """By what was recorded: both ran at the same time, and no task of the one while the other's did."""
    lock = f"/v2/concurrency_limits/{lock_name('server', 'web3')}"
    docker_pause("web3")
    first = shop.begin("verify-platform", {"platform": named("platform", "svc-shop"), "dry_run": True})
    shop.wait(lambda: shop.get(lock).json()["active_slots"] == 1, 60)
    second = shop.begin("prepare-server", {"servers": ["web3"], "dry_run": True}, "second")
    said = f"is held by the run {shop.get(f'/flow_runs/{first}').json()['name']}"
    mine = {"logs": {"flow_run_id": {"any_": [second]}}}
    shop.wait(lambda: any(said in line["message"] for line in shop.filter("logs", mine)), 60)
    docker_unpause("web3")
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

    tasks: list[dict[str, Any]] = service.wait(recorded, 30)
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
    shop.wait(lambda: wanted <= {heard["event"] for heard in shop.listener.heard}, 30)
    told = {heard["event"]: heard for heard in shop.listener.heard}
    payload = told["packmaster.fleet.drift"]["payload"]
    assert "web3: code:" in payload["drift"]
    assert payload["failed"] == "cluster svc-lost"
    assert shop.listener.paths == {f"/hook?{HOOK}"}


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
    event = {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "packmaster.share.unhealthy",
        "resource": {"prefect.resource.id": "packmaster.share.s1", "prefect.resource.name": "s1"},
        "payload": {},
    }
    assert service.post("/events", [event], token=service.token()).status_code == 204
    of_it = {"deployments": {"id": {"any_": [service.deployment("repair-share")]}}}
    (run,) = service.wait(lambda: service.filter("flow_runs", of_it), 30)
    assert run["parameters"]["dry_run"] is True
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
