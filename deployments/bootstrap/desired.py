"""What a Prefect server should have for Packmaster, as items."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from importlib.metadata import version
from typing import Any

from prefect.blocks.core import Block
from prefect.blocks.webhook import Webhook
from prefect.events.schemas.automations import AutomationCore

from blocks import BLOCK_TYPES, Mail
from deployments.bootstrap.plan import Item
from deployments.definitions import Automation, Deployment, Schedule
from flows.locks import lock_name

VERSION = version("packmaster")
VARIABLE = "packmaster"
DEFAULT_POOL = "packmaster"
MARK = "packmaster"
ALL_BLOCK_TYPES: tuple[type[Block], ...] = (*BLOCK_TYPES, Mail, Webhook)
# The blocks through which something is told to somebody, empty at first.
TELLING: dict[str, type[Block]] = {
    "webhook/packmaster-webhook": Webhook,
    "webhook/packmaster-events": Webhook,
    "packmaster-mail/packmaster-mail": Mail,
}


def describe_server(
    deployments: Iterable[Deployment],
    automations: Iterable[Automation],
    locks: Iterable[str],
    pool: str,
    filled_in: Collection[str],
) -> tuple[Item, ...]:
    """Everything that has to be there; what calls a block that is not `filled_in` is not among it."""
    return (
        *(describe_block_type(block_type) for block_type in ALL_BLOCK_TYPES),
        *(Item("block", name, {}) for name in TELLING),
        Item("work pool", pool, {}),
        *(describe_deployment(deployment, pool) for deployment in deployments),
        *(describe_automation(a) for a in automations if not a.block or a.block in filled_in),
        *(Item("lock", name, {"limit": 1, "active": True}) for name in locks),
        Item("variable", VARIABLE, {"value": {"version": VERSION, "pool": pool}}),
    )


def describe_block_type(block_type: type[Block]) -> Item:
    """A block type, known by the checksum of its fields."""
    return Item(
        "block type",
        block_type.get_block_type_slug(),
        {"schema": block_type._calculate_schema_checksum(), "description": block_type.get_description()},
    )


def describe_deployment(deployment: Deployment, pool: str) -> Item:
    """A deployment; its description is the flow's runbook, its form the flow's signature."""
    flow = deployment.load_flow()
    limit = deployment.concurrency_limit
    fields = {
        "description": flow.description,
        "entrypoint": deployment.entrypoint,
        "tags": sorted(deployment.tags),
        "pool": pool,
        "parameters": deployment.parameters,
        # A parameter that is misspelt is refused with words, and not by a run that crashes.
        "form": {
            **flow.parameters.model_dump(mode="json", exclude_unset=True),
            "additionalProperties": False,
        },
        "concurrency": [limit.limit, limit.collision_strategy],
        "slots": "taken by runs",
        "schedules": {schedule.slug: describe_schedule(schedule) for schedule in deployment.schedules},
        "version": VERSION,
        # The package is installed where a worker is: nothing is pulled from anywhere.
        "pull": [],
    }
    return Item("deployment", deployment.name, fields)


def describe_schedule(schedule: Schedule) -> dict[str, Any]:
    """When it runs, in the words of the file."""
    return {
        "when": schedule.cron or f"{schedule.interval} s",
        "timezone": schedule.timezone,
        "active": schedule.active,
        "parameters": schedule.parameters,
    }


def describe_automation(automation: Automation) -> Item:
    """An automation; what it acts on is named, not numbered."""
    core = AutomationCore.model_validate(automation.document)
    target = automation.deployment or automation.block
    return Item("automation", automation.name, summarise_automation(core, target))


def summarise_automation(core: AutomationCore, target: str) -> dict[str, Any]:
    """An automation's own fields without the server's ids, and the name of what it acts on."""
    dumped = core.model_dump(mode="json", include={"description", "enabled", "trigger", "actions"})
    for action in dumped["actions"]:
        for numbered in ("deployment_id", "block_document_id"):
            action.pop(numbered, None)
    return {**dumped, "target": target, "tags": [MARK]}


def describe_locks(servers: Iterable[str], shares: Iterable[str], databases: Iterable[str]) -> Iterator[str]:
    """The names of the locks of all that is registered."""
    for kind, names in (("server", servers), ("share", shares), ("database", databases)):
        yield from (lock_name(kind, name) for name in sorted(set(names)))
