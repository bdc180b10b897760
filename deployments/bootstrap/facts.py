"""What a Prefect server has of ours. What others made is not among it: each kind has its mark.

A deployment of ours has the tag and its flow's name; an automation the tag and the prefix; a lock the prefix
of its kind; the work pool, the variable and the blocks are known by their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar
from uuid import UUID

from prefect.blocks.core import Block
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.events.schemas.automations import Automation
from prefect.exceptions import ObjectNotFound

from blocks import DatabaseServer, NfsServer, Share, WebServer
from deployments.bootstrap.desired import (
    ALL_BLOCK_TYPES,
    DEFAULT_POOL,
    MARK,
    TELLING,
    VARIABLE,
    describe_locks,
    summarise_automation,
)
from deployments.bootstrap.plan import Item
from deployments.bootstrap.slots import find_wedged
from flows.locks import KINDS, PREFIX, read_limits

T = TypeVar("T")
PAGE = 200
AUTOMATION_PREFIX = "packmaster: "
PLACEHOLDER = "https://fill-this-in.invalid/"


def read_server(client: SyncPrefectClient, pool: str) -> tuple[Item, ...]:
    """Everything of ours that the server has; with the pool's name, for that is the operator's."""
    deployments = read_deployments(client)
    wedged = find_wedged(client, deployments)
    targets = {deployment.id: deployment.name for deployment in deployments}
    blocks = dict(_read_blocks(client))
    names = targets | {identity: name for name, identity in blocks.items()}
    return (
        *_read_block_types(client),
        *(Item("block", name, {}) for name in blocks),
        *_read_pool(client, pool),
        *(_as_item(deployment, wedged=deployment.id in wedged) for deployment in deployments),
        *(_from_automation(automation, names) for automation in read_automations(client)),
        *_read_locks(client),
        *_read_variable(client),
    )


def read_deployments(client: SyncPrefectClient) -> list[DeploymentResponse]:
    """Our deployments: one that somebody made of our flows has another name than its flow."""
    ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[MARK]))
    found = _all_pages(
        lambda offset: client.read_deployments(deployment_filter=ours, limit=PAGE, offset=offset)
    )
    flows = {flow.id: flow.name for flow in _all_pages(lambda at: client.read_flows(limit=PAGE, offset=at))}
    return [deployment for deployment in found if flows.get(deployment.flow_id) == deployment.name]


def read_automations(client: SyncPrefectClient) -> list[Automation]:
    """Our automations."""
    found = _all_pages(lambda offset: client.read_automations(limit=PAGE, offset=offset))
    return [each for each in found if MARK in each.tags and each.name.startswith(AUTOMATION_PREFIX)]


def find_pool(client: SyncPrefectClient) -> str:
    """The work pool that the last bootstrap put our deployments on; on a new server, the usual one."""
    variable = client.read_variable_by_name(VARIABLE)
    written = variable.value if variable is not None else None
    pool = written.get("pool") if isinstance(written, dict) else None
    return pool if isinstance(pool, str) and pool else DEFAULT_POOL


def find_locks() -> tuple[str, ...]:
    """The names of the locks of every machine, share and database that is registered."""
    servers = [*WebServer.find_all(), *NfsServer.find_all()]
    return tuple(describe_locks(servers, Share.find_all(), DatabaseServer.find_all()))


def find_filled_in() -> frozenset[str]:
    """The telling blocks that somebody filled in."""
    return frozenset(name for name in TELLING if _is_filled_in(name))


def _is_filled_in(name: str) -> bool:
    try:
        block = Block.load(name)
    except ValueError:  # it is not there yet
        return False
    if isinstance(block, Webhook):
        return block.url != type(block.url)(PLACEHOLDER)
    return bool(getattr(block, "server", "") and getattr(block, "recipients", []))


def _read_block_types(client: SyncPrefectClient) -> Iterator[Item]:
    for block_type in ALL_BLOCK_TYPES:
        slug, checksum = block_type.get_block_type_slug(), block_type._calculate_schema_checksum()
        try:
            registered = client.read_block_type_by_slug(slug)
        except ObjectNotFound:
            continue
        try:
            client.read_block_schema_by_checksum(checksum, block_type.get_block_schema_version())
        except ObjectNotFound:
            checksum = "another"
        yield Item("block type", slug, {"schema": checksum, "description": registered.description})


def _read_blocks(client: SyncPrefectClient) -> Iterator[tuple[str, UUID]]:
    for name in TELLING:
        slug, document = name.split("/")
        try:
            yield name, client.read_block_document_by_name(document, slug, include_secrets=False).id
        except ObjectNotFound:
            continue


def _read_pool(client: SyncPrefectClient, pool: str) -> Iterator[Item]:
    try:
        yield Item("work pool", client.read_work_pool(pool).name, {})
    except ObjectNotFound:
        return


def _read_variable(client: SyncPrefectClient) -> Iterator[Item]:
    variable = client.read_variable_by_name(VARIABLE)
    if variable is not None:
        yield Item("variable", VARIABLE, {"value": variable.value})


def _read_locks(client: SyncPrefectClient) -> Iterator[Item]:
    ours = tuple(f"{PREFIX}-{kind}-" for kind in KINDS)
    for name, limit in read_limits(client).items():
        if name.startswith(ours):
            held = bool(limit.active_slots)
            yield Item("lock", name, {"limit": limit.limit, "active": limit.active, "held": held})


def _as_item(deployment: DeploymentResponse, *, wedged: bool) -> Item:
    limit, options = deployment.global_concurrency_limit, deployment.concurrency_options
    fields = {
        "description": deployment.description,
        "entrypoint": deployment.entrypoint,
        "tags": sorted(deployment.tags),
        "pool": deployment.work_pool_name,
        "parameters": deployment.parameters,
        "form": deployment.parameter_openapi_schema,
        "concurrency": [
            limit.limit if limit else None,
            options.collision_strategy.value if options else None,
        ],
        "slots": "taken by no run" if wedged else "taken by runs",
        "schedules": {schedule.slug: _as_schedule(schedule) for schedule in deployment.schedules},
        "version": deployment.version,
        "pull": deployment.pull_steps or [],
    }
    return Item("deployment", deployment.name, fields)


def _as_schedule(scheduled: Any) -> dict[str, Any]:
    rule = scheduled.schedule
    if isinstance(rule, CronSchedule):
        when = rule.cron
    else:
        seconds = rule.interval.total_seconds() if isinstance(rule, IntervalSchedule) else 0
        when = f"{seconds:.0f} s" if seconds else str(rule)
    return {
        "when": when,
        "timezone": getattr(rule, "timezone", None) or "UTC",
        "active": scheduled.active,
        "parameters": scheduled.parameters,
    }


def _from_automation(automation: Automation, names: dict[UUID, str]) -> Item:
    ids: Iterable[Any] = (
        getattr(action, field, None)
        for action in automation.actions
        for field in ("deployment_id", "block_document_id")
    )
    target = next((names.get(identity, str(identity)) for identity in ids if identity), "")
    return Item("automation", automation.name, summarise_automation(automation, target))


def _all_pages(read: Callable[[int], Sequence[T]]) -> list[T]:
    found: list[T] = []
    while page := read(len(found)):
        found += page
        if len(page) < PAGE:
            break
    return found
