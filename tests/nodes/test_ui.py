"""Packmaster as a person sees it: the Prefect UI in a real Chromium, on a real service and real nodes.

Every test leaves pictures in pytest's directory for temporary files: `ui-pictures0/` and so on.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.nodes.approving import ABOUT, TEXT
from tests.nodes.browser import RUN_SECONDS, Person, sit_down
from tests.nodes.prepared import KINDS, prepared
from tests.nodes.service import LOGIN, POOL, Listener, Service, find_port

NODES = ("web1", "web3")
PLATFORM = "ui-shop"
CLUSTER = "ui-web"
# The menu has no artifacts: this is an address to keep.
OVERVIEW = "/v2/artifacts/key/overview"
CODE = f"/var/aegir/platforms/{PLATFORM}"


def register(service: Service, bed: Any) -> None:
    """The nodes as an operator registers them."""
    shutil.copy(bed.private_key, service.home / "key")
    servers = {
        name: {"address": bed.addresses[name], "kind": KINDS[name], "credentials": "fleet",
               "host_keys": [bed.host_keys[name]]}
        for name in NODES
    }  # fmt: skip
    inventory = {
        "ssh_credentials": {"fleet": {"private_key": {"file": "key"}}},
        "web_servers": servers,
        "clusters": {CLUSTER: {"servers": list(NODES)}, "ui-other": {"servers": ["web1"]}},
    }
    path = service.home / "inventory.yaml"
    path.write_text(json.dumps(inventory))
    service.packmaster("inventory", "apply", str(path))
    service.packmaster("bootstrap", "--pool", POOL)


def make(service: Service, path: str, body: dict[str, Any]) -> str:
    """What another system creates; its id."""
    answer = service.post(path, body, token=service.token())
    assert answer.status_code in {200, 201}, answer.text
    return str(answer.json()["id"])


def start_approving(service: Service) -> str:
    """A run of the flow that asks; its id."""
    flow = make(service, "/flows/", {"name": "approving"})
    deployment = {
        "name": "approving", "flow_id": flow, "entrypoint": "tests.nodes.approving.approving",
        "work_pool_name": POOL, "pull_steps": [], "tags": ["packmaster"],
    }  # fmt: skip
    path = f"/deployments/{make(service, '/deployments/', deployment)}/create_flow_run"
    return make(service, path, {"parameters": {"seconds": 600}})


@pytest.fixture(scope="module")
def service(bed: Any, docker_exec: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The service with its UI and its worker, two nodes prepared and registered."""
    service = Service(tmp_path_factory.mktemp("ui"), find_port(), Listener())
    service.environment["PREFECT_SERVER_UI_ENABLED"] = "true"
    try:
        with ThreadPoolExecutor(1) as pool:
            made_ready = pool.submit(prepared, bed, *NODES)
            service.start()
            register(service, bed)
            made_ready.result()
        service.spawn("worker", "worker", "start", "--pool", POOL, "--name", "w1", "--type", "process")
        yield service
    finally:
        service.stop()
        for node in NODES:
            docker_exec(node, "rm", "-rf", CODE)


@pytest.fixture(scope="module")
def person(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    url = service.environment["PREFECT_API_URL"].removesuffix("/api")
    with sit_down(url, tmp_path_factory.mktemp("ui-pictures")) as person:
        yield person


@pytest.fixture(scope="module")
def operator(person: Person) -> Person:
    """Somebody who has logged in, and whom a wrong password did not let in."""
    person.page.goto("/")
    password = person.page.get_by_placeholder("admin:pass")
    password.fill("admin:wrong")
    person.press("Login")
    expect(person.page.get_by_text("Login failed").or_(person.page.get_by_text("Invalid"))).to_be_visible()
    person.look("login-refused")
    password.fill(LOGIN)
    person.press("Login")
    person.sees("Dashboard")
    return person


def open_deployment(person: Person, name: str) -> None:
    """From wherever one is to a deployment."""
    person.follow("Deployments")
    person.page.get_by_placeholder("Search deployments").fill(name)
    rows = person.page.get_by_role("row")
    expect(rows).to_have_count(2)  # the heads, and what was found
    person.goes_to(rows.get_by_role("link", name=name, exact=True).first, "deployment")


def open_form(person: Person, deployment: str) -> None:
    """From wherever one is to the form of a deployment."""
    open_deployment(person, deployment)
    person.press("Run")
    person.choose("Custom run")
    expect(person.field("Dry run")).to_be_visible()


def send(person: Person, button: str, request: str) -> dict[str, Any]:
    """Press a form's button, again where the server was too busy; what the server answered."""
    for _ in range(5):
        with person.page.expect_response(re.compile(f"/{request}$")) as answer:
            person.press(button)
        if answer.value.status != 503:  # SQLite's way of saying that it is busy
            break
    assert answer.value.ok, answer.value.text()
    return dict(answer.value.json())


def open_run(person: Person) -> None:
    """Send the form and go to the run that it made."""
    run = send(person, "Submit", "create_flow_run")
    person.page.goto(f"/v2/runs/flow-run/{run['id']}")


def comes_to(person: Person, state: str) -> None:
    """The run's own state stands alone; in its log are those of its steps, which end before it does."""
    badge = person.page.get_by_text(state, exact=True).first
    expect(badge).to_be_visible(timeout=RUN_SECONDS * 1000)


def open_artifact(person: Person, key: str) -> None:
    person.tab("Artifacts")
    person.page.get_by_text(key).first.click()
    person.sees("Raw")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "index.php").write_text("<?php echo 'served';")
    (folder / "lib.php").write_text("<?php // a file that somebody may change")
    return folder


def test_a_deployment_says_what_it_does(operator: Person) -> None:
    operator.follow("Deployments")
    operator.sees("check-share")
    operator.look("deployments")
    open_deployment(operator, "create-platform")
    operator.tab("Description")
    operator.sees("Safe to re-run?")
    operator.look("deployment")


def test_the_form_refuses_what_cannot_be(operator: Person, service: Service) -> None:
    open_form(operator, "create-platform")
    operator.look("form-empty")
    operator.field("Platform").fill("My Shop!")
    keep = operator.field("Keep releases")
    keep.fill("99")
    operator.press("Submit")
    # This one is the browser's own, in its own language.
    assert "50" in keep.evaluate("field => field.validationMessage")
    keep.fill("5")
    operator.press("Submit")
    operator.sees("'My Shop!' does not match")
    operator.sees("'source' is a required property")
    operator.look("form-refused")
    assert service.filter("flow_runs", {}) == []


def test_a_platform_is_made_by_filling_in_a_form(operator: Person, source: Path, docker_exec: Any) -> None:
    open_form(operator, "create-platform")
    operator.field("Platform").fill(PLATFORM)
    operator.tab("Cluster")
    operator.press("Select a block")
    operator.sees("ui-other")
    operator.look("form-blocks")
    operator.choose(CLUSTER)
    operator.field("Source").fill(str(source))
    operator.look("form-filled")
    open_run(operator)
    # The page follows the run by itself, until it has its own name and then its end.
    operator.sees(f"create {PLATFORM}", RUN_SECONDS)
    operator.look("run-going-on")
    comes_to(operator, "Completed")
    operator.tab("Task Runs")
    operator.sees("switch")
    operator.look("run-completed")
    assert docker_exec("web3", "cat", f"{CODE}/current/index.php") == "<?php echo 'served';"


def test_plan_and_outcome_are_tables(operator: Person) -> None:
    operator.follow("Runs")
    operator.follow(f"create {PLATFORM}")
    for kind, words in (("plan", ("web1", "whole")), ("outcome", ("web3", "switch", "changed"))):
        open_artifact(operator, f"{kind}-deploy-{PLATFORM}")
        expect(operator.row(*words)).to_be_visible()
        operator.look(kind)
        operator.page.go_back()


def test_what_somebody_changed_by_hand_is_in_the_report_of_the_night(
    operator: Person, docker_exec: Any
) -> None:
    docker_exec("web3", "sh", "-c", f"echo '<?php // by hand' > {CODE}/current/lib.php")
    open_form(operator, "resync-all")
    open_run(operator)
    comes_to(operator, "Completed")
    open_artifact(operator, "drift-everything")
    expect(operator.row(PLATFORM, "web3", "code", "lib.php")).to_be_visible()
    assert operator.row("web1", "lib.php").count() == 0
    operator.sees(re.compile(r"1 difference\(s\) were found and not repaired"))
    operator.look("drift")
    assert docker_exec("web3", "cat", f"{CODE}/current/lib.php") == "<?php // by hand\n"


def test_the_overview_is_a_page_with_pictures(operator: Person) -> None:
    operator.page.goto(OVERVIEW)
    operator.look("overviews")
    operator.page.get_by_role("link", name=re.compile("^[0-9a-f]{8}$")).first.click()  # the newest
    operator.sees(f"Cluster {CLUSTER}")
    picture = operator.page.locator("img[alt*='web1 member']").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 100
    operator.look("overview")


def test_a_run_that_waits_is_approved(operator: Person, service: Service) -> None:
    run = start_approving(service)
    operator.page.goto(f"/v2/runs/flow-run/{run}")
    comes_to(operator, "Paused")
    operator.press("Open menu")
    operator.choose("Resume")
    operator.sees(ABOUT)
    for line in TEXT.splitlines():
        operator.sees(line)
    operator.look("approval")
    operator.press("Select Approve")
    operator.choose("yes")
    operator.field("Fenced by hand").fill("nfs1")
    operator.look("approval-filled")
    assert send(operator, "Resume", "resume")["status"] == "ACCEPT"
    comes_to(operator, "Completed")
    operator.look("approved")
    assert service.get(f"/flow_runs/{run}").json()["state"]["type"] == "COMPLETED"
