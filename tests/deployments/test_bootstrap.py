"""A real Prefect server made ready: again and again, after changes, and beside what others made there."""

from datetime import timedelta

import pytest
from click.testing import CliRunner, Result
from prefect import flow
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentScheduleUpdate,
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
    VariableCreate,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.schemas.automations import Automation, AutomationCore
from prefect.states import Pending, Running
from pydantic import SecretStr

from deployments.bootstrap.desired import VARIABLE
from deployments.bootstrap.facts import PLACEHOLDER, find_pool, read_automations
from deployments.cli import main

pytestmark = pytest.mark.usefixtures("prefect_server")
POOL = "bootstrap-test"
LATE = "packmaster: tell of failed nightly runs"


def bootstrap(*options: str) -> Result:
    done = CliRunner().invoke(main, ["bootstrap", "--pool", POOL, *options])
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="module")
def client(prefect_server: str) -> SyncPrefectClient:
    return get_client(sync_client=True)


@pytest.fixture(scope="module", autouse=True)
def ready(client: SyncPrefectClient) -> str:
    """The server once bootstrapped, and what the command said."""
    return bootstrap().output


def find(client: SyncPrefectClient, name: str) -> DeploymentResponse:
    return client.read_deployment_by_name(f"{name}/{name}")


def automations(client: SyncPrefectClient) -> dict[str, Automation]:
    return {each.name: each for each in read_automations(client)}


def test_everything_is_there(client: SyncPrefectClient, ready: str) -> None:
    assert f"create    work pool {POOL}" in ready or POOL in {p.name for p in client.read_work_pools()}
    nightly = find(client, "reconcile-grants")
    assert nightly.work_pool_name == POOL
    assert nightly.description is not None
    assert nightly.description.startswith("reconcile-grants: ")
    assert nightly.parameter_openapi_schema is not None
    assert nightly.parameter_openapi_schema["properties"]["drops"]["position"] == 4
    assert nightly.global_concurrency_limit is not None
    assert nightly.schedules[0].parameters == {"dry_run": True, "fail_on_drift": True}
    assert nightly.enforce_parameter_schema
    assert "packmaster: crash zombie runs" in automations(client)


def test_a_second_run_changes_nothing() -> None:
    assert bootstrap().output == "everything is as it should be\n0 change(s)\n"


def test_without_a_name_the_pool_is_the_one_of_last_time(client: SyncPrefectClient) -> None:
    """Whoever upgrades types less than at the first time, and moves nothing to another pool."""
    again = CliRunner().invoke(main, ["bootstrap"])
    assert again.output == "everything is as it should be\n0 change(s)\n"
    assert find(client, "add-site").work_pool_name == POOL
    client.delete_variable_by_name(VARIABLE)
    try:
        assert (
            "pool: 'bootstrap-test' -> 'packmaster'"
            in CliRunner().invoke(main, ["bootstrap", "--dry-run"]).output
        )
        client.create_variable(VariableCreate(name=VARIABLE, value="somebody's own"))
        assert find_pool(client) == "packmaster"
    finally:
        client.delete_variable_by_name(VARIABLE)
        bootstrap()


def test_a_dry_run_shows_and_changes_nothing(client: SyncPrefectClient) -> None:
    client.delete_deployment(find(client, "add-site").id)
    shown = bootstrap("--dry-run").output
    assert "create    deployment add-site" in shown
    assert shown.endswith("dry run: 1 change(s)\n")
    assert bootstrap().output.endswith("\n1 change(s)\n")
    assert find(client, "add-site").work_pool_name == POOL


def test_what_somebody_changed_is_put_back_and_what_he_switched_off_is_not(client: SyncPrefectClient) -> None:
    share = find(client, "check-share")
    off = DeploymentScheduleUpdate(active=False)
    client.request(
        "PATCH",
        f"/deployments/{share.id}/schedules/{share.schedules[0].id}",
        json=off.model_dump(mode="json", exclude_unset=True),
    ).raise_for_status()
    client.request("PATCH", f"/deployments/{share.id}", json={"description": "mine"}).raise_for_status()
    said = bootstrap().output
    assert "update    deployment check-share" in said
    assert "note      schedule each-minute of check-share was switched off and stays off" in said
    put_back = find(client, "check-share")
    assert put_back.description != "mine"
    assert [schedule.active for schedule in put_back.schedules] == [False]
    assert "update    deployment check-share" in bootstrap("--reset-switches").output
    assert [schedule.active for schedule in find(client, "check-share").schedules] == [True]


def test_what_is_gone_goes_and_what_others_made_stays(client: SyncPrefectClient) -> None:
    @flow(name="retired-flow")
    def retired() -> None: ...

    @flow(name="a-flow-of-mine")
    def mine() -> None: ...

    gone = client.create_flow(retired)
    other = client.create_flow(mine)
    client.create_deployment(gone, "retired-flow", tags=["packmaster"])
    copy = client.create_deployment(gone, "my own copy", tags=["packmaster"])
    own = client.create_deployment(other, "a-flow-of-mine", tags=["mine"])
    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="my-limit", limit=3))
    client.create_global_concurrency_limit(
        GlobalConcurrencyLimitCreate(name="packmaster-share-long-gone", limit=1)
    )
    pattern = automations(client)["packmaster: crash zombie runs"].model_dump(exclude={"id"})
    mine_too = client.create_automation(AutomationCore(**{**pattern, "name": "crash"}))
    theirs = client.create_automation(AutomationCore(**{**pattern, "name": "packmaster: x", "tags": []}))
    client.create_automation(AutomationCore(**{**pattern, "name": "packmaster: retired"}))
    try:
        said = bootstrap().output
        removed = [line for line in said.splitlines() if line.startswith("remove")]
        assert "remove    deployment retired-flow" in removed
        assert "remove    automation packmaster: retired" in removed
        assert "remove    lock packmaster-share-long-gone" in removed
        assert not [line for line in removed if "mine" in line or "my" in line]
        assert all(client.read_deployment(kept).name for kept in (copy, own))
        assert client.read_automation(mine_too) is not None
        assert client.read_automation(theirs) is not None
        assert client.read_global_concurrency_limit_by_name("my-limit").limit == 3
    finally:
        for identity in (mine_too, theirs):
            client.delete_automation(identity)
        for deployment in (copy, own):
            client.delete_deployment(deployment)


def take_slot(client: SyncPrefectClient, name: str, taken: int) -> None:
    limit = find(client, name).global_concurrency_limit
    assert limit is not None
    client.update_global_concurrency_limit(limit.name, GlobalConcurrencyLimitUpdate(active_slots=taken))


def test_a_slot_that_no_run_has_is_free_again(client: SyncPrefectClient) -> None:
    """A server that forgets its leases when it is killed; with one slot, no run would ever begin again."""
    take_slot(client, "check-share", 1)
    assert "slots: 'taken by no run' -> 'taken by runs'" in bootstrap("--dry-run").output
    assert "update    deployment check-share" in bootstrap().output
    freed = find(client, "check-share").global_concurrency_limit
    assert freed is not None
    assert freed.active_slots == 0
    assert bootstrap().output.endswith("\n0 change(s)\n")


def test_the_slot_of_a_run_that_goes_on_is_left(client: SyncPrefectClient) -> None:
    deployment = find(client, "check-share")
    run = client.create_flow_run_from_deployment(deployment.id)
    client.set_flow_run_state(run.id, Pending())
    try:
        assert bootstrap().output.endswith("\n0 change(s)\n")
        client.set_flow_run_state(run.id, Running())
        taken = find(client, "check-share").global_concurrency_limit
        assert taken is not None
        assert taken.active_slots == 1
        assert bootstrap().output.endswith("\n0 change(s)\n")
        take_slot(client, "check-share", 2)
        assert "update    deployment check-share" in bootstrap().output
        taken = find(client, "check-share").global_concurrency_limit
        assert taken is not None
        assert taken.active_slots == 1
    finally:
        client.delete_flow_run(run.id)
        take_slot(client, "check-share", 0)


def test_a_run_that_never_began_has_no_slot(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = client.create_flow_run_from_deployment(find(client, "check-share").id)
    client.set_flow_run_state(run.id, Pending())
    try:
        monkeypatch.setattr("deployments.bootstrap.slots.PENDING_FOR_EVER", timedelta(0))
        assert "update    deployment check-share" in bootstrap("--dry-run").output
    finally:
        client.delete_flow_run(run.id)
        take_slot(client, "check-share", 0)


def test_nothing_is_sent_until_a_block_is_filled_in(client: SyncPrefectClient) -> None:
    assert LATE not in automations(client)
    block = Webhook.load("packmaster-webhook")
    block.url = type(block.url)("https://alerts.example.org/hook")
    block.save("packmaster-webhook", overwrite=True)
    assert f"create    automation {LATE}" in bootstrap().output
    assert automations(client)[LATE].enabled
    assert Webhook.load("packmaster-webhook").url.get_secret_value() == "https://alerts.example.org/hook"
    block.url = type(block.url)(PLACEHOLDER)
    block.save("packmaster-webhook", overwrite=True)
    assert f"remove    automation {LATE}" in bootstrap().output


def test_a_lock_that_somebody_widened_is_exclusive_again(client: SyncPrefectClient) -> None:
    from blocks import DatabaseServer

    DatabaseServer(host="192.0.2.1", admin_user="a", admin_password=SecretStr("b")).save("boot-db")
    name = "packmaster-database-boot-db"
    try:
        assert f"create    lock {name}" in bootstrap().output
        wide = GlobalConcurrencyLimitUpdate(limit=5, active=False)
        client.update_global_concurrency_limit(name, wide)
        assert f"update    lock {name}" in bootstrap().output
        found = client.read_global_concurrency_limit_by_name(name)
        assert (found.limit, found.active) == (1, True)
    finally:
        DatabaseServer.delete("boot-db")
    assert f"remove    lock {name}" in bootstrap().output
