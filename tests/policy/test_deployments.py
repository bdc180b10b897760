"""Every flow is a button that says what it does, and every button leads to a flow.

Prefect reads prefect.yaml with models that ignore what they do not know, so a typo would simply vanish.
"""

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow
from ruamel.yaml import YAML

from deployments.bootstrap.desired import TELLING
from deployments.bootstrap.facts import AUTOMATION_PREFIX
from deployments.definitions import read_automations, read_deployments
from tasks.errors import PlanRefused

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = YAML(typ="safe").load((ROOT / "deployments" / "prefect.yaml").read_text(encoding="utf-8"))
DEPLOYMENTS: list[dict[str, Any]] = DOCUMENT["deployments"]
TAGS = {"packmaster", "database", "nightly", "overview", "platform", "server", "site"}
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


def test_the_files_are_understood_whole() -> None:
    assert len(read_deployments()) == len(DEPLOYMENTS)
    assert all(deployment.load_flow() for deployment in read_deployments())
    deployed = {deployment.name for deployment in read_deployments()}
    for automation in read_automations():
        assert not automation.deployment or automation.deployment in deployed
        assert not automation.block or automation.block in TELLING
        assert automation.name.startswith(AUTOMATION_PREFIX)
        assert automation.document["description"]


TYPOS = {
    "an unknown key": ("concurrency_limit: *queue", "concurency_limit: *queue", "concurency_limit"),
    "an unknown section": ("deployments:\n", "deployment:\n", "unknown section 'deployment'"),
    "a key of a schedule": ("timezone: UTC, active", "time_zone: UTC, active", "schedules.0.time_zone"),
    "a cron line": ("15 2 * * *", "15 25 * * *", "15 25"),
    "a time zone": ("timezone: UTC", "timezone: Europe/Berlyn", "Berlyn"),
    "a strategy": ("CANCEL_NEW", "CANCEL_OLD", "collision_strategy"),
    "a module": ("flows.add_site.", "flows.add_sites.", "flows.add_sites"),
    "a function": ("flows.add_site.add_site", "flows.add_site.add_sites", "add_sites"),
    "no flow": ("flows.add_site.add_site", "flows.add_site.conclude", "is not a flow"),
    "a parameter": ("{dry_run: true", "{dry_runs: true", "dry_runs"),
    "two of a name": ("name: add-node", "name: add-site", "two deployments have the name"),
    "another pool": ('"{{ $PACKMASTER_POOL }}"', '"{{ $PACKMASTER_POOLS }}"', "work_pool.name"),
}


@pytest.mark.parametrize("typo", TYPOS)
def test_a_typo_is_named(typo: str, tmp_path: Path) -> None:
    right, wrong, named = TYPOS[typo]
    text = (ROOT / "deployments" / "prefect.yaml").read_text(encoding="utf-8")
    assert right in text
    path = tmp_path / "prefect.yaml"
    path.write_text(text.replace(right, wrong))
    with pytest.raises(PlanRefused, match=re.escape(named)):
        assert [deployment.load_flow() for deployment in read_deployments(path)]


AUTOMATION_TYPOS = {
    "a trigger's key": ("match_related:", "match_releated:", "match_releated"),
    "an action's key": ("payload:", "pay_load:", "pay_load"),
    "an action": ("type: run-deployment", "type: run-deploymnt", "unknown type"),
    "a key": ("description: What", "descripton: What", "descripton"),
}


@pytest.mark.parametrize("typo", AUTOMATION_TYPOS)
def test_a_typo_in_an_automation_is_named(typo: str, tmp_path: Path) -> None:
    right, wrong, named = AUTOMATION_TYPOS[typo]
    text = (ROOT / "deployments" / "automations.yaml").read_text(encoding="utf-8")
    assert right in text
    path = tmp_path / "automations.yaml"
    path.write_text(text.replace(right, wrong))
    with pytest.raises(PlanRefused, match=re.escape(named)):
        read_automations(path)


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
def test_its_form_calls_every_field_as_people_do(deployment: dict[str, Any]) -> None:
    properties = load_flow(deployment).parameters.properties
    titles = [field["title"] for field in properties.values()]
    assert [title for title in titles if "_" in title or not title[0].isupper()] == []
    assert len(set(titles)) == len(titles)


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
    if callable(template):
        # What it makes of a run's parameters, its own test says.
        assert template.__name__ == "name_run"
        return
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
