"""One step of the plan on the server. Each can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import (
    DeploymentScheduleCreate,
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
    VariableCreate,
    VariableUpdate,
    WorkPoolCreate,
)
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from blocks import Mail
from deployments.bootstrap.desired import ALL_BLOCK_TYPES, MARK, TELLING
from deployments.bootstrap.facts import PLACEHOLDER, read_automations, read_deployments
from deployments.bootstrap.plan import Item, Step
from deployments.bootstrap.slots import free_slots
from deployments.definitions import Automation

POOL_DESCRIPTION = "Where Packmaster's flows run; a worker of it needs this package, ssh, rsync and git."


@dataclass(frozen=True, slots=True)
class Applier:
    """Carries out steps with one client; `automations` by name, as the file has them."""

    client: SyncPrefectClient
    automations: Mapping[str, Automation]
    pool_type: str = "process"

    def apply(self, step: Step) -> None:
        """The step's item is on the server as the plan wants it, or gone."""
        kinds: dict[str, Callable[[Step], None]] = {
            "block type": self.register_block_type,
            "block": self.create_block,
            "work pool": self.create_pool,
            "deployment": self.put_deployment,
            "automation": self.put_automation,
            "lock": self.put_lock,
            "variable": self.put_variable,
        }
        kinds[step.item.kind](step)

    def register_block_type(self, step: Step) -> None:
        """The block type has today's fields; its documents keep their values."""
        types = {kind.get_block_type_slug(): kind for kind in ALL_BLOCK_TYPES}
        types[step.item.name].register_type_and_schema()

    def create_block(self, step: Step) -> None:
        """The block is there, empty; one that is there already is left alone."""
        block = Mail() if TELLING[step.item.name] is Mail else Webhook(url=PLACEHOLDER)
        with suppress(ValueError):  # it exists
            block.save(step.item.name.partition("/")[2], overwrite=False)

    def create_pool(self, step: Step) -> None:
        """The work pool is there; how it runs things is the operator's affair afterwards."""
        wanted = WorkPoolCreate(name=step.item.name, type=self.pool_type, description=POOL_DESCRIPTION)
        with suppress(ObjectAlreadyExists):
            self.client.create_work_pool(wanted)

    def put_deployment(self, step: Step) -> None:
        """The deployment is as wanted; its runs, with their slots, and whether it is paused are kept."""
        if step.action == "remove":
            for deployment in read_deployments(self.client):
                if deployment.name == step.item.name:
                    self.client.delete_deployment(deployment.id)
            return
        fields, name = step.item.fields, step.item.name
        limit, strategy = fields["concurrency"]
        self._forget_schedules(step.item)
        made = self.client.create_deployment(
            self.client.create_flow_from_name(name),
            name,
            version=fields["version"],
            schedules=[make_schedule(slug, raw) for slug, raw in fields["schedules"].items()],
            concurrency_limit=limit,
            concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy(strategy)),
            parameters=dict(fields["parameters"]),
            description=fields["description"],
            work_pool_name=fields["pool"],
            tags=list(fields["tags"]),
            entrypoint=fields["entrypoint"],
            parameter_openapi_schema=fields["form"],
            pull_steps=[],
            enforce_parameter_schema=True,
        )
        free_slots(self.client, made)

    def _forget_schedules(self, item: Item) -> None:
        """Schedules that the file has no more are gone; creating a deployment anew would keep them."""
        for deployment in read_deployments(self.client):
            for schedule in deployment.schedules if deployment.name == item.name else ():
                if schedule.slug not in item.fields["schedules"]:
                    self.client.delete_deployment_schedule(deployment.id, schedule.id)

    def put_automation(self, step: Step) -> None:
        """There is one automation of the name, as wanted; or none."""
        existing = [each for each in read_automations(self.client) if each.name == step.item.name]
        if step.action == "remove":
            for each in existing:
                self.client.delete_automation(each.id)
            return
        core = self.address(self.automations[step.item.name], enabled=step.item.fields["enabled"])
        if existing:
            self.client.update_automation(existing[0].id, core)
        else:
            self.client.create_automation(core)

    def address(self, automation: Automation, *, enabled: bool) -> AutomationCore:
        """The automation with the server's ids of what it acts on, and our mark."""
        document: dict[str, Any] = {**automation.document, "enabled": enabled, "tags": [MARK]}
        action = dict(document["actions"][0])
        if automation.deployment:
            named = f"{automation.deployment}/{automation.deployment}"
            action["deployment_id"] = self.client.read_deployment_by_name(named).id
        if automation.block:
            slug, name = automation.block.split("/")
            action["block_document_id"] = self.client.read_block_document_by_name(name, slug).id
        return AutomationCore.model_validate({**document, "actions": [action]})

    def put_lock(self, step: Step) -> None:
        """The limit lets one in at a time; that of something gone is gone."""
        name = step.item.name
        with suppress(ObjectAlreadyExists, ObjectNotFound):
            if step.action == "remove":
                self.client.delete_global_concurrency_limit_by_name(name)
            elif step.action == "create":
                self.client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
            else:
                change = GlobalConcurrencyLimitUpdate(limit=1, active=True)
                self.client.update_global_concurrency_limit(name, change)

    def put_variable(self, step: Step) -> None:
        """The variable has the wanted value."""
        value = step.item.fields["value"]
        if step.action == "create":
            self.client.create_variable(VariableCreate(name=step.item.name, value=value))
        elif step.action == "update":
            self.client.update_variable(VariableUpdate(name=step.item.name, value=value))


def make_schedule(slug: str, raw: Mapping[str, Any]) -> DeploymentScheduleCreate:
    """A schedule as Prefect takes it."""
    when, zone = str(raw["when"]), raw["timezone"]
    if when.endswith(" s"):
        rule: Any = IntervalSchedule(interval=timedelta(seconds=int(when[:-2])), timezone=zone)
    else:
        rule = CronSchedule(cron=when, timezone=zone)
    return DeploymentScheduleCreate(
        schedule=rule, active=raw["active"], parameters=dict(raw["parameters"]), slug=slug
    )
