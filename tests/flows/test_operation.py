"""What every flow of ours does at its end: its state, and the overview after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.client.schemas.objects import State

from flows.operation import operation
from flows.publish import conclude
from tasks.outcome import Outcome, Outcomes

CHANGED, FAILED, SAME = (
    Outcome("web1", "stage", changed=True),
    Outcome("web1", "stage", error="no space left"),
    Outcome("web1", "stage"),
)


@operation("test-operation", runbook="A test.", run_name="test operation")
def conclude_with(outcome: Outcome) -> State[Outcomes]:
    return conclude("an operation", Outcomes((outcome,)))


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def find_author(client: SyncPrefectClient) -> str:
    """The run that made the overview as it is now; empty when there is none."""
    overview = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=["overview"]))
    found = client.read_latest_artifacts(artifact_filter=overview)
    return str(found[0].flow_run_id) if found else ""


@pytest.mark.parametrize(
    ("outcome", "makes"),
    [(CHANGED, True), (FAILED, True), (SAME, False)],
    ids=["changed", "failed", "nothing"],
)
def test_the_overview_is_made_after_a_run_that_changed_or_failed_something(
    client: SyncPrefectClient, outcome: Outcome, makes: bool
) -> None:
    before = find_author(client)
    ended = conclude_with(outcome, return_state=True)
    assert ended.is_failed() == bool(outcome.error)
    run = str(ended.state_details.flow_run_id)
    assert find_author(client) == (run if makes else before)
