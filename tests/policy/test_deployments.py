"""Every flow is a button that says what it does, and every button leads to a flow.

Prefect reads prefect.yaml with models that ignore what they do not know, so a typo would simply vanish.
"""

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = YAML(typ="safe").load((ROOT / "deployments" / "prefect.yaml").read_text(encoding="utf-8"))
DEPLOYMENTS: list[dict[str, Any]] = DOCUMENT["deployments"]
KNOWN = {
    "concurrency_limit": {"limit", "collision_strategy", "grace_period_seconds"},
    "description": set(),
    "enforce_parameter_schema": set(),
    "entrypoint": set(),
    "name": set(),
    "parameters": None,
    "schedules": {"cron", "interval", "rrule", "timezone", "slug", "active", "parameters", "anchor_date"},
    "tags": None,
    "triggers": None,
    "work_pool": {"name", "work_queue_name", "job_variables"},
}
TAGS = {"packmaster", "database", "platform", "server", "site"}
# What somebody wants to know who is about to press the button, or was woken up by it.
RUNBOOK = ("Trigger:", "Effect:", "Rollback:", "Safe to re-run?", "3 a.m.:")


def load_flow(deployment: dict[str, Any]) -> Flow[..., Any]:
    module, _, name = deployment["entrypoint"].rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    assert isinstance(flow, Flow), f"{deployment['entrypoint']} is not a flow"
    return flow


def name_of(deployment: dict[str, Any]) -> str:
    return str(deployment.get("name"))


each_deployment = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)


def test_the_file_has_known_keys_only() -> None:
    assert set(DOCUMENT) <= {"name", "prefect-version", "build", "push", "pull", "definitions", "deployments"}


@each_deployment
def test_a_deployment_has_known_keys_only(deployment: dict[str, Any]) -> None:
    assert set(deployment) <= set(KNOWN)
    for key, allowed in KNOWN.items():
        inside = deployment.get(key, {})
        for part in inside if isinstance(inside, list) else [inside]:
            if allowed and isinstance(part, dict):
                assert set(part) <= allowed, key


@each_deployment
def test_it_has_what_every_deployment_needs(deployment: dict[str, Any]) -> None:
    assert {"name", "entrypoint", "tags", "work_pool"} <= set(deployment)
    assert deployment["work_pool"]["name"] == "{{ $PACKMASTER_POOL }}"
    assert set(deployment["tags"]) <= TAGS
    assert "packmaster" in deployment["tags"]
    assert len(deployment["tags"]) > 1
    # A dotted path is found wherever the package is installed; a file only where it was deployed from.
    assert "/" not in deployment["entrypoint"]
    assert ":" not in deployment["entrypoint"]


def test_names_and_entrypoints_are_unique() -> None:
    assert len({name_of(d) for d in DEPLOYMENTS}) == len(DEPLOYMENTS)
    assert len({d["entrypoint"] for d in DEPLOYMENTS}) == len(DEPLOYMENTS)


@each_deployment
def test_its_schedules_can_be_told_apart(deployment: dict[str, Any]) -> None:
    """Without a slug a changed schedule is added beside the old one."""
    slugs = [schedule.get("slug") for schedule in deployment.get("schedules", [])]
    assert all(slugs)
    assert len(set(slugs)) == len(slugs)


@each_deployment
def test_its_flow_has_the_same_name(deployment: dict[str, Any]) -> None:
    flow = load_flow(deployment)
    assert flow.name == deployment["name"]
    assert deployment["entrypoint"].split(".")[1] == deployment["name"].replace("-", "_")


@each_deployment
def test_what_people_read_is_the_runbook(deployment: dict[str, Any]) -> None:
    """The description of the deployment, or else that of its flow, is what the UI shows."""
    description = str(deployment.get("description") or load_flow(deployment).description or "")
    missing = [word for word in RUNBOOK if word not in description]
    assert not missing, f"the description of {deployment['name']} does not say {missing}"


@each_deployment
def test_a_flow_module_is_its_runbook(deployment: dict[str, Any]) -> None:
    docstring = inspect.getdoc(importlib.import_module(deployment["entrypoint"].rpartition(".")[0])) or ""
    assert docstring.startswith(f"{deployment['name']}: ")
    assert [word for word in RUNBOOK if word not in docstring] == []


@each_deployment
def test_its_parameters_are_the_flows(deployment: dict[str, Any]) -> None:
    accepted = inspect.signature(load_flow(deployment).fn).parameters
    given = set(deployment.get("parameters", {}))
    for schedule in deployment.get("schedules", []):
        given |= set(schedule.get("parameters", {}))
    assert given <= set(accepted)


@each_deployment
def test_it_can_be_asked_what_it_would_do(deployment: dict[str, Any]) -> None:
    dry_run = inspect.signature(load_flow(deployment).fn).parameters["dry_run"]
    assert dry_run.annotation in {bool, "bool"}
    assert dry_run.default is False


@each_deployment
def test_its_form_explains_every_field(deployment: dict[str, Any]) -> None:
    properties = load_flow(deployment).parameters.properties
    assert [name for name, field in properties.items() if not field.get("description")] == []


@each_deployment
def test_its_form_asks_for_no_secret(deployment: dict[str, Any]) -> None:
    """Parameters are stored and logged in plain text; secrets are in blocks, and named."""
    schema = load_flow(deployment).parameters
    for name, field in schema.properties.items():
        assert field.get("format") != "password", name
        assert "writeOnly" not in field, name
        assert not any(word in name for word in ("password", "secret", "private_key", "token")), name


@each_deployment
def test_its_width_is_bounded(deployment: dict[str, Any]) -> None:
    """The default thread pool has no bound: a hundred nodes would be a hundred rsyncs."""
    width = getattr(load_flow(deployment).task_runner, "_max_workers", None)
    assert width is not None
    assert width <= 64


@each_deployment
def test_its_runs_have_readable_names(deployment: dict[str, Any]) -> None:
    flow = load_flow(deployment)
    template = flow.flow_run_name
    assert isinstance(template, str)
    known = inspect.signature(flow.fn).parameters
    template.format(**dict.fromkeys(known, _Anything()))


class _Anything:
    """Has every attribute that a run name's template could ask for."""

    def __getattr__(self, name: str) -> "_Anything":
        return self

    def __getitem__(self, key: object) -> "_Anything":
        return self


def test_every_flow_has_a_deployment() -> None:
    deployed = {deployment["entrypoint"] for deployment in DEPLOYMENTS}
    flows = set()
    for path in sorted((ROOT / "flows").glob("*.py")):
        module = importlib.import_module("flows" if path.stem == "__init__" else f"flows.{path.stem}")
        flows |= {
            f"{module.__name__}.{name}"
            for name, value in vars(module).items()
            if isinstance(value, Flow) and value.fn.__module__ == module.__name__
        }
    assert flows == deployed
