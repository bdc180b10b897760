"""Packmaster as other systems use it: with nothing but HTTP, behind a login; and what the server keeps."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.nodes.prepared import KINDS
from tests.nodes.service import POOL, Listener, Service, find_port

NODES = ("web1", "web3")
SITE = "shop.service.test"
# What only the server's own encryption may hold.
PLANTED = {"db_admin_password": "", "private_key": "", "webhook": "planted-webhook-secret-77c1"}


def slug(kind: str, name: str) -> dict[str, Any]:
    """A block as a parameter, by its name."""
    return {"$ref": {"block_document_slug": f"packmaster-{kind}/{name}"}}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "index.php").write_text("<?php echo 'served';")
    (folder / "lib.php").write_text("<?php // a file that somebody may change")
    return folder


def write_inventory(bed: Any, home: Path) -> Path:
    shutil.copy(bed.private_key, home / "key")
    (home / "password").write_text(bed.db_admin_password)
    servers = {
        name: {"address": bed.addresses[name], "kind": KINDS[name], "credentials": "fleet",
               "host_keys": [bed.host_keys[name]]}
        for name in NODES
    }  # fmt: skip
    servers["lost1"] = {**servers["web1"], "address": "192.0.2.77"}
    database = {"host": bed.db_host, "admin_user": bed.db_admin_user, "admin_password": {"file": "password"}}
    inventory = {
        "ssh_credentials": {"fleet": {"private_key": {"file": "key"}}},
        "web_servers": servers,
        "database_servers": {"svc-db": database},
        "clusters": {"svc-web": {"servers": list(NODES)}, "svc-lost": {"servers": ["lost1"]}},
    }
    (home / "inventory.yaml").write_text(json.dumps(inventory))
    return home / "inventory.yaml"


@pytest.fixture(scope="module")
def service(bed: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with its worker, the bed's nodes registered and prepared."""
    home = tmp_path_factory.mktemp("service")
    with Listener().listening() as listener:
        service = Service(home, find_port(), listener)
        try:
            service.start()
            service.packmaster("bootstrap", "--pool", POOL)
            service.spawn("worker", "worker", "start", "--pool", POOL, "--name", "w1", "--type", "process")
            yield service
        finally:
            service.stop()


@pytest.fixture(scope="module")
def ready(service: Service, bed: Any) -> Service:
    """The bed registered as an operator does it, with a cluster whose one server is gone since."""
    path = write_inventory(bed, service.home)
    assert "changed" in service.packmaster("inventory", "apply", str(path))
    service.packmaster("bootstrap", "--pool", POOL)
    service.run(sys.executable, "-c", "from blocks import WebServer; WebServer.unregister('lost1')")
    said = service.example("run_flow.sh", "prepare-server", json.dumps({"servers": list(NODES)}))
    assert "Completed: " in said
    return service


@pytest.fixture(scope="module")
def shop(ready: Service, source: Path) -> Service:
    """A platform made by curl, and a site made by Python."""
    wanted = {"platform": "svc-shop", "source": str(source), "target": slug("cluster", "svc-web")}
    first = ready.example("run_flow.sh", "create-platform", json.dumps(wanted), "the-same-key")
    assert "Completed: " in first
    assert "plan-deploy-svc-shop\tweb1 | " in first
    assert "outcome-deploy-svc-shop\tweb3 | switch | changed" in first
    again = ready.example("run_flow.py", "create-platform", json.dumps(wanted), "the-same-key")
    assert again.splitlines()[0] == first.splitlines()[0], "one key, one run"
    site = {
        "uri": SITE,
        "platform": slug("platform", "svc-shop"),
        "database": slug("database-server", "svc-db"),
    }
    assert "Completed: " in ready.example("run_flow.py", "add-site", json.dumps(site))
    return ready


def test_nobody_gets_in_without_a_login(service: Service) -> None:
    assert service.get("/health", login="").status_code == 200
    for login in ("", "admin:wrong"):
        assert service.get("/deployments/name/add-site/add-site", login=login).status_code == 401
        assert service.get("/csrf-token?client=tests", login=login).status_code == 401
        assert service.post("/flow_runs/filter", {}, login=login).status_code in {401, 403}
    assert service.post("/flow_runs/filter", {}).status_code == 403, "without a CSRF token"
    found = service.get("/deployments/name/add-site/add-site").json()
    assert found["description"].startswith("add-site: ")
    for example in ("run_flow.sh", "run_flow.py"):
        outside = {**service.environment, "PREFECT_API_AUTH_STRING": "admin:wrong"}
        stranger = Service(service.home, service.port, service.listener)
        stranger.environment = outside
        assert "401" in stranger.example(example, "add-site", "{}", check=False)


def test_the_doctor_is_content(shop: Service) -> None:
    said = shop.packmaster("doctor", "--pool", POOL)
    assert "ok       worker: w1 on the pool service" in said
    assert said.endswith("nothing is missing\n")


BAD = {
    "a field that is missing": ({"source": "/srv/x"}, "'platform' is a required property"),
    "a wrong type": (
        {"platform": 5, "source": "/s", "target": slug("cluster", "svc-web")},
        "5 is not of type",
    ),
    "a field too many": (
        {"platform": "x", "source": "/s", "target": slug("cluster", "svc-web"), "tarjet": 1},
        "tarjet",
    ),
    "out of bounds": (
        {"platform": "x", "source": "/s", "target": slug("cluster", "svc-web"), "keep_releases": 99},
        "99 is greater than the maximum of 50",
    ),
}


@pytest.mark.parametrize("mistake", BAD)
def test_bad_parameters_are_refused_with_words(shop: Service, mistake: str) -> None:
    parameters, words = BAD[mistake]
    deployment = shop.get("/deployments/name/create-platform/create-platform").json()["id"]
    path = f"/deployments/{deployment}/create_flow_run"
    refused = shop.post(path, {"parameters": parameters}, token=shop.token())
    assert refused.status_code in {409, 422}, refused.text
    assert words in refused.text
    said = shop.example("run_flow.py", "create-platform", json.dumps(parameters), check=False)
    assert words in said


def fill_in(service: Service, name: str) -> None:
    """Give a webhook block its address, as a person does in the UI."""
    script = (
        "import sys; from prefect.blocks.webhook import Webhook; w = Webhook.load(sys.argv[1]);"
        "w.url = type(w.url)(sys.argv[2]); w.save(sys.argv[1], overwrite=True)"
    )
    url = f"{service.listener.url}?{PLANTED['webhook']}"
    service.run(sys.executable, "-c", script, name, url)


def spoil(docker_exec: Any, node: str = "web3") -> None:
    """What somebody does on one node: a file of the code, and a service."""
    code = "/var/aegir/platforms/svc-shop/current"
    docker_exec(node, "sh", "-c", f"echo '<?php // by hand' > {code}/lib.php")
    docker_exec("web1", "sh", "-c", "service php8.2-fpm stop")


def test_the_night_reports_what_somebody_did_by_hand(shop: Service, docker_exec: Any) -> None:
    for block in ("packmaster-webhook", "packmaster-events"):
        fill_in(shop, block)
    assert "create    automation packmaster: tell of" in shop.packmaster("bootstrap", "--pool", POOL)
    spoil(docker_exec)
    said = shop.example("run_flow.py", "resync-all", '{"fail_on_drift": true}', check=False)
    # The cluster whose server is gone is named, and kept nobody else from being looked at.
    assert "cluster svc-lost: prepare-server: Failed: " in said
    rows = {(row["of"], row["host"], row["subject"]): row for row in shop.rows("drift-everything")}
    code = rows["platform svc-shop", "web3", "code"]
    assert code["result"] == "reported"
    assert ("cluster svc-web", "web1", "services") in rows
    assert ("platform svc-shop", "web1", "code") not in rows
    assert docker_exec("web3", "cat", "/var/aegir/platforms/svc-shop/current/lib.php") == "<?php // by hand\n"
    shop.wait(lambda: len({heard["event"] for heard in shop.listener.heard}) > 1, 30)
    told = {heard["event"]: heard for heard in shop.listener.heard}
    assert "web3: code:" in told["packmaster.fleet.drift"]["payload"]["drift"]
    assert "prefect.flow-run.Failed" in told


def test_where_the_platform_says_so_it_is_repaired(shop: Service, docker_exec: Any) -> None:
    path = shop.home / "policy.yaml"
    path.write_text("platforms:\n  svc-shop: {on_drift: repair}\n")
    assert "on_drift: 'report' -> 'repair'" in shop.packmaster("inventory", "apply", str(path))
    shop.example("run_flow.py", "resync-all", "{}", check=False)
    rows = [row for row in shop.rows("drift-everything") if row["of"] == "platform svc-shop"]
    assert {row["result"] for row in rows} == {"repaired"}
    assert "that somebody may change" in docker_exec(
        "web3", "cat", "/var/aegir/platforms/svc-shop/current/lib.php"
    )


def test_an_unhealthy_share_is_looked_at_by_itself(shop: Service) -> None:
    """The automation names the share of the event; that there is none here is the run's affair."""
    event = {
        "id": "5b0c9d57-3f0f-4cbd-8c1e-1f1f2a3b4c5d",
        "occurred": shop.get("/flow_runs/count").headers.get("x-now") or _now(),
        "event": "packmaster.share.unhealthy",
        "resource": {"prefect.resource.id": "packmaster.share.s1", "prefect.resource.name": "s1"},
        "payload": {},
    }
    assert shop.post("/events", [event], token=shop.token()).status_code == 204
    deployment = shop.get("/deployments/name/repair-share/repair-share").json()["id"]
    of_it = {"deployments": {"id": {"any_": [deployment]}}}
    (run,) = shop.wait(lambda: shop.filter("flow_runs", of_it), 30)
    assert run["parameters"]["dry_run"] is True
    assert run["parameters"]["share"] == {"$ref": {"block_document_slug": "packmaster-share/s1"}}


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat()


def test_the_overview_shows_the_fleet(shop: Service) -> None:
    page = shop.get("/artifacts/overview/latest").json()["data"]
    assert "## Cluster svc-web" in page
    assert "data:image/svg+xml;base64," in page
    (row,) = [line for line in page.splitlines() if line.startswith("| svc-shop ")]
    assert SITE in row
    assert "not seen yet" not in row


def test_no_secret_is_anywhere_in_what_the_server_kept(shop: Service, bed: Any) -> None:
    """Parameters, results, logs, artifacts, events, blocks: the bytes of its database, and of every log."""
    script = (
        "from blocks import Site; s = next(iter(Site.find_all().values()));"
        "print(s.database_password.get_secret_value(), s.admin_password.get_secret_value())"
    )
    made = shop.run(sys.executable, "-c", script).stdout.split()
    secrets = {
        "a line of the private key": Path(bed.private_key).read_text().splitlines()[2],
        "the database's admin password": bed.db_admin_password,
        "the webhook's address": PLANTED["webhook"],
        "the site's database password": made[0],
    }
    secrets |= {"the site's admin password": made[1]} if len(made) > 1 else {}
    database = shop.home / "prefect" / "prefect.db"
    subprocess.run(["sync"], check=True)
    kept = {
        path: path.read_bytes() for path in [*database.parent.glob("prefect.db*"), *shop.home.glob("*.log")]
    }
    assert len(kept) >= 3
    assert b"svc-shop" in b"".join(kept.values()), "this is where runs are stored"
    found = [
        f"{what} is in {path.name}"
        for path, content in kept.items()
        for what, secret in secrets.items()
        if secret.encode() in content
    ]
    assert not found
