"""What a person sees in the UI: plan and outcome tables under stable keys, events, one last sentence."""

import json
import time
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect import flow
from prefect.client.schemas.objects import State, StateType

from flows import publish
from flows.publish import (
    announce,
    artifact_key,
    conclude,
    explain,
    failures_of,
    publish_plan,
    summarise,
)
from tasks.errors import HostsFailed
from tasks.outcome import Outcome, Outcomes


class Plan:
    def __init__(self, *rows: dict[str, str]) -> None:
        self.rows = list(rows)

    def __bool__(self) -> bool:
        return bool(self.rows)

    def __str__(self) -> str:
        return "\n".join(" ".join(row.values()) for row in self.rows) or "nothing to do"

    def as_rows(self) -> list[dict[str, str]]:
        return self.rows


def read_artifact(server: str, key: str) -> dict[str, Any]:
    answer = httpx.get(f"{server}/artifacts/{key}/latest", timeout=10)
    answer.raise_for_status()
    artifact: dict[str, Any] = answer.json()
    return artifact


@given(st.lists(st.text(max_size=20), max_size=4))
def test_an_artifact_key_is_one_that_prefect_takes(words: list[str]) -> None:
    key = artifact_key("plan", *words)
    assert key.startswith("plan")
    assert set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not key.endswith("-")


def test_artifact_keys_of_different_sites_differ() -> None:
    assert artifact_key("plan", "www.example.org") == "plan-www-example-org"


def test_plans_of_several_subjects_become_one_table(prefect_server: str) -> None:
    """The UI takes the columns from the first row alone, so every row has the same ones."""

    @flow
    def show() -> bool:
        code = Plan({"host": "web1", "action": "stage", "release": "r1", "reason": "new"})
        mounts = Plan({"host": "web2", "action": "mount", "path": "/srv", "detail": "nfs4"})
        grants = Plan({"step": "create user", "sql": "CREATE USER ..."})
        return publish_plan("publish.one", code, mounts, grants)

    assert show() is True
    artifact = read_artifact(prefect_server, "plan-publish-one")
    assert artifact["type"] == "table"
    assert json.loads(artifact["data"]) == [
        {"where": "web1", "step": "stage", "detail": "release: r1; reason: new"},
        {"where": "web2", "step": "mount", "detail": "path: /srv; nfs4"},
        {"where": "", "step": "create user", "detail": "CREATE USER ..."},
    ]
    assert "What this run is going to do" in artifact["description"]


def test_a_plan_of_one_subject_keeps_its_columns(prefect_server: str) -> None:
    rows = [{"host": "web1", "release": "r1"}, {"host": "web2", "release": "r1"}]

    @flow
    def show() -> bool:
        return publish_plan("publish.five", Plan(*rows))

    assert show() is True
    assert json.loads(read_artifact(prefect_server, "plan-publish-five")["data"]) == rows


def test_an_empty_plan_says_so(prefect_server: str) -> None:
    @flow
    def show() -> bool:
        return publish_plan("publish.two", Plan(), Plan())

    assert show() is False
    artifact = read_artifact(prefect_server, "plan-publish-two")
    assert "Nothing to do: everything is as desired" in artifact["description"]
    assert json.loads(artifact["data"]) == [{"result": "nothing to do"}]


def test_a_good_end_completes_the_flow_with_a_sentence(prefect_server: str) -> None:
    outcomes = Outcomes((Outcome("web1", "stage", changed=True, detail="3 files"), Outcome("web2", "stage")))

    @flow
    def end() -> State[Outcomes]:
        return conclude("publish.three", outcomes)

    state = end(return_state=True)
    assert state.type == StateType.COMPLETED
    assert state.message == "1 steps changed something on 1 of 2 hosts."
    assert json.loads(read_artifact(prefect_server, "outcome-publish-three")["data"]) == outcomes.as_rows()


def test_a_bad_end_fails_the_flow_and_still_shows_every_host(
    prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[dict[str, Any]] = []
    monkeypatch.setattr(publish, "emit_event", lambda **event: events.append(event))
    outcomes = Outcomes((Outcome("web1", "stage", changed=True), Outcome("web2", "stage", error="disk full")))

    @flow
    def end() -> State[Outcomes]:
        return conclude("publish.four", outcomes)

    state = end(return_state=True)
    assert state.type == StateType.FAILED
    with pytest.raises(HostsFailed, match="web2: stage: disk full") as failed:
        state.result()
    assert failed.value.outcomes == outcomes
    artifact = read_artifact(prefect_server, "outcome-publish-four")
    assert "FAILED on web2; 1 of 2 hosts are fine" in artifact["description"]
    assert [row["host"] for row in json.loads(artifact["data"])] == ["web2", "web1"]
    assert [(event["event"], event["resource"]["prefect.resource.id"]) for event in events] == [
        ("packmaster.host.failed", "packmaster.host.web2")
    ]
    assert events[0]["payload"] == {"about": "publish.four", "step": "stage", "error": "disk full"}


def test_an_event_reaches_the_server(prefect_server: str) -> None:
    from prefect.events.worker import EventsWorker

    @flow
    def tell() -> None:
        announce("site.added", "publish.example.org", {"platform": "blog"})

    tell()
    EventsWorker.drain_all(timeout=10)
    wanted = {"filter": {"event": {"name": ["packmaster.site.added"]}}}
    for _ in range(50):
        found = httpx.post(f"{prefect_server}/events/filter", json=wanted, timeout=10).json()["events"]
        if found:
            break
        time.sleep(0.2)
    assert found[0]["resource"]["prefect.resource.id"] == "packmaster.site.publish.example.org"
    assert found[0]["payload"] == {"platform": "blog"}


@pytest.mark.parametrize(
    ("outcomes", "sentence"),
    [
        (Outcomes(), "Nothing changed: 0 of 0 hosts are as desired."),
        (
            Outcomes((Outcome("a", "x"), Outcome("a", "y"), Outcome("b", "x"))),
            "Nothing changed: 2 of 2 hosts are as desired.",
        ),
        (
            Outcomes((Outcome("a", "x", changed=True), Outcome("a", "y", changed=True), Outcome("b", "x"))),
            "2 steps changed something on 1 of 2 hosts.",
        ),
        (
            Outcomes(
                (Outcome("b", "x", error="e"), Outcome("a", "x", changed=True, error="e"), Outcome("c", "x"))
            ),
            "FAILED on a, b; 1 of 3 hosts are fine.",
        ),
    ],
)
def test_the_sentence_counts_hosts(outcomes: Outcomes, sentence: str) -> None:
    assert summarise(outcomes) == sentence


def test_a_dry_run_does_not_say_that_all_is_well() -> None:
    assert "A dry run: nothing was touched." in summarise(Outcomes((Outcome("a", "x"),)), dry_run=True)
    failed = Outcomes((Outcome("a", "x", error="e"),))
    assert summarise(failed, dry_run=True) == summarise(failed)


def test_a_failure_is_explained_above_the_table() -> None:
    long = "php-fpm: the configuration is wrong:\n  line 3: ``` unknown"
    text = explain(Outcomes((Outcome("web1", "reload", error=long), Outcome("web2", "reload"))))
    assert text == (
        "\n\n**web1**, reload:\n\n```\nphp-fpm: the configuration is wrong:\n  line 3: ''' unknown\n```"
    )
    many = explain(Outcomes(tuple(Outcome(f"web{n}", "x", error="e") for n in range(13))))
    assert many.endswith("and 3 more, which the table has")
    assert explain(Outcomes((Outcome("web1", "x"),))) == ""


def test_hosts_that_could_not_be_planned_for_are_failures() -> None:
    outcomes = failures_of("read", {"web2": "down", "web1": "denied"})
    assert [(o.host, o.step, o.error) for o in outcomes] == [
        ("web1", "read", "denied"),
        ("web2", "read", "down"),
    ]
