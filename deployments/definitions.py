"""prefect.yaml and automations.yaml as values, read strictly: Prefect drops what it does not know."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from prefect import Flow
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.events.actions import UnknownAction
from prefect.events.schemas.automations import AutomationCore
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tasks.errors import PlanRefused

FOLDER = Path(__file__).parent
DEPLOYMENTS = FOLDER / "prefect.yaml"
AUTOMATIONS = FOLDER / "automations.yaml"

M = TypeVar("M", bound=BaseModel)


class Entry(BaseModel):
    """A mapping in which every key is known."""

    model_config = ConfigDict(extra="forbid")


class Schedule(Entry):
    """When a deployment runs by itself: by a cron line, or every so many seconds, in a time zone."""

    slug: str = Field(min_length=1)
    cron: str | None = None
    interval: int | None = Field(default=None, ge=10)
    timezone: str = "UTC"
    active: bool = True
    parameters: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _understood_by_prefect(self) -> Self:
        if (self.cron is None) == (self.interval is None):
            raise ValueError("a schedule has either a cron line or an interval")
        if self.cron is not None:
            CronSchedule(cron=self.cron, timezone=self.timezone)
        if self.interval is not None:
            IntervalSchedule(interval=timedelta(seconds=self.interval), timezone=self.timezone)
        return self


class Concurrency(Entry):
    """How many runs of a deployment there may be at once, and what becomes of the next one."""

    limit: int = Field(ge=1)
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"]


class WorkPool(Entry):
    """Where a deployment's runs go."""

    name: Literal["{{ $PACKMASTER_POOL }}"]


class Deployment(Entry):
    """One flow as it can be run; what people read is the flow's runbook."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    entrypoint: str = Field(pattern=r"^flows(\.[a-z_][a-z0-9_]*){2}$")
    tags: list[str] = Field(min_length=2)
    work_pool: WorkPool
    concurrency_limit: Concurrency
    parameters: dict[str, Any] = Field(default_factory=dict)
    schedules: list[Schedule] = Field(default_factory=list)

    def load_flow(self) -> Flow[..., Any]:
        """The flow itself; raises PlanRefused when the entry point leads to none."""
        module, _, name = self.entrypoint.rpartition(".")
        try:
            flow = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as missing:
            raise PlanRefused(
                f"{DEPLOYMENTS.name}: {self.name}: {self.entrypoint}: {missing}", "Correct it"
            ) from missing
        if not isinstance(flow, Flow):
            raise PlanRefused(f"{DEPLOYMENTS.name}: {self.name}: {self.entrypoint} is not a flow")
        self._check_parameters(flow)
        return flow

    def _check_parameters(self, flow: Flow[..., Any]) -> None:
        given = {*self.parameters}.union(*(schedule.parameters for schedule in self.schedules))
        unknown = sorted(given - set(flow.parameters.properties))
        if unknown:
            known = ", ".join(flow.parameters.properties)
            raise PlanRefused(
                f"{DEPLOYMENTS.name}: {self.name} gives the parameter {unknown[0]!a}", f"Its flow has {known}"
            )


@dataclass(frozen=True, slots=True)
class Automation:
    """What the server does by itself. `block` and `deployment` are names; ids are the server's affair."""

    name: str
    document: Mapping[str, Any]
    deployment: str = ""
    block: str = ""


def read_deployments(path: Path = DEPLOYMENTS) -> tuple[Deployment, ...]:
    """Every deployment of the file; raises PlanRefused, saying where, for anything that is not understood."""
    document = _read(path, {"name", "definitions", "deployments"})
    found = tuple(_validated(Deployment, raw, path) for raw in document["deployments"])
    for what in ("name", "entrypoint"):
        values = [getattr(deployment, what) for deployment in found]
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise PlanRefused(f"{path}: two deployments have the {what} {twice[0]!a}", "Keep one")
    return found


def read_automations(path: Path = AUTOMATIONS) -> tuple[Automation, ...]:
    """Every automation of the file; raises PlanRefused for what Prefect would refuse or drop."""
    return tuple(_read_automation(dict(raw), path) for raw in _read(path, {"automations"})["automations"])


def _read_automation(document: dict[str, Any], path: Path) -> Automation:
    name = str(document.get("name"))
    action = dict(document.get("action", {}))
    deployment, block = str(action.pop("deployment", "")), str(action.pop("block", ""))
    filler = "00000000-0000-0000-0000-000000000000"
    action |= {"source": "selected", "deployment_id": filler} if deployment else {}
    action |= {"block_document_id": filler} if block else {}
    unknown = sorted(set(document) - {"name", "description", "trigger", "action"})
    if unknown:
        raise PlanRefused(f"{path}: {name}: unknown key {unknown[0]!a}")
    head = {"name": name, "description": document.get("description", ""), "enabled": True}
    complete = {**head, "trigger": {"type": "event", **document.get("trigger", {})}, "actions": [action]}
    core = _validated(AutomationCore, complete, path)
    if isinstance(core.actions[0], UnknownAction):
        raise PlanRefused(f"{path}: {name}: the action has the unknown type {action.get('type')!a}")
    parsed = core.model_dump(mode="json")
    _refuse_dropped(complete["trigger"], parsed["trigger"], f"{path}: {name}: trigger")
    _refuse_dropped(action, parsed["actions"][0], f"{path}: {name}: action")
    return Automation(name, complete, deployment, block)


def _refuse_dropped(written: Mapping[str, Any], parsed: Mapping[str, Any], where: str) -> None:
    dropped = sorted(set(written) - set(parsed))
    if dropped:
        raise PlanRefused(f"{where}: unknown key {dropped[0]!a}", f"It has {', '.join(sorted(parsed))}")


def _read(path: Path, known: set[str]) -> dict[str, Any]:
    try:
        document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, YAMLError) as unreadable:
        raise PlanRefused(f"{path}: {unreadable}") from unreadable
    unknown = sorted(set(document) - known)
    if unknown:
        raise PlanRefused(f"{path}: unknown section {unknown[0]!a}", f"Use one of {', '.join(sorted(known))}")
    return dict(document)


def _validated(model: type[M], raw: Mapping[str, Any], path: Path) -> M:
    try:
        return model.model_validate(raw)
    except ValidationError as invalid:
        # A key that is not known is why another one is missing.
        first = min(invalid.errors(), key=lambda error: error["type"] != "extra_forbidden")
        where = ".".join(str(part) for part in first["loc"])
        raise PlanRefused(f"{path}: {raw.get('name', '?')}: {where}: {first['msg']}") from invalid
