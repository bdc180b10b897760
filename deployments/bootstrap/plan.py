"""What a Prefect server has of Packmaster's, compared with what it should have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

Action = Literal["create", "update", "remove"]

# What is needed by others comes first; what is removed goes in the opposite order.
KINDS = ("block type", "block", "work pool", "deployment", "automation", "lock", "variable")
# Made once and then the operator's: what runs on a pool or is written in a block is not ours to take away.
NEVER_REMOVED = frozenset({"block type", "block", "work pool"})
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Item:
    """One thing on the server, with the fields that make it what it should be, as JSON values.

    `schedules` (by slug, each with `active`) and `enabled` are switches: an operator may turn them off.
    """

    kind: str
    name: str
    fields: Mapping[str, Any]

    @property
    def key(self) -> tuple[int, str]:
        return KINDS.index(self.kind), self.name


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to create, update or remove; `item` is what it is going to be, or what it was."""

    action: Action
    item: Item
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = "".join(f"\n            {detail}" for detail in self.details)
        return f"{self.action:9} {self.item.kind} {self.item.name}{lines}"


@dataclass(frozen=True, slots=True)
class BootstrapPlan:
    """What has to be done on the server, in order; `notes` say what was left as an operator set it."""

    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __str__(self) -> str:
        done = [str(step) for step in self.steps] or ["everything is as it should be"]
        return "\n".join([*done, *(f"note      {note}" for note in self.notes)])

    def as_rows(self) -> list[dict[str, str]]:
        """Rows for a table."""
        return [
            {"action": s.action, "kind": s.item.kind, "name": s.item.name, "detail": "; ".join(s.details)}
            for s in self.steps
        ]


def plan_bootstrap(
    desired: Iterable[Item], actual: Iterable[Item], *, reset_switches: bool = False
) -> BootstrapPlan:
    """Return what makes `actual`, which is ours, into `desired`.

    A schedule or automation that somebody switched off stays off, with a note, unless `reset_switches`.
    """
    found = {(item.kind, item.name): item for item in actual}
    steps: list[Step] = []
    notes: list[str] = []
    wanted = sorted(desired, key=lambda item: item.key)
    for item in wanted:
        now = found.pop((item.kind, item.name), None)
        if now is None:
            steps.append(Step("create", item))
            continue
        kept, said = (item, []) if reset_switches else keep_switches(item, now)
        notes += said
        details = compare(kept.fields, now.fields)
        if details:
            steps.append(Step("update", kept, details))
    # A lock that is held belongs to a run that goes on, whatever was unregistered meanwhile.
    gone = [item for item in found.values() if item.kind not in NEVER_REMOVED and not item.fields.get("held")]
    steps += [Step("remove", item) for item in sorted(gone, key=lambda item: item.key, reverse=True)]
    return BootstrapPlan(tuple(steps), tuple(notes))


def keep_switches(desired: Item, actual: Item) -> tuple[Item, list[str]]:
    """The desired item with every switch left off that is off, and what is to be said about that."""
    fields, notes = dict(desired.fields), []
    if fields.get("enabled") and actual.fields.get("enabled") is False:
        fields["enabled"] = False
        notes.append(f"{desired.kind} {desired.name} was switched off and stays off")
    schedules = {slug: dict(schedule) for slug, schedule in fields.get("schedules", {}).items()}
    for slug, schedule in schedules.items():
        now = actual.fields.get("schedules", {}).get(slug, {})
        if schedule["active"] and now.get("active") is False:
            schedule["active"] = False
            notes.append(f"schedule {slug} of {desired.name} was switched off and stays off")
    if schedules:
        fields["schedules"] = schedules
    return replace(desired, fields=fields), notes


def compare(desired: Mapping[str, Any], actual: Mapping[str, Any]) -> tuple[str, ...]:
    """One line for each field that differs."""
    return tuple(
        f"{field}: {_shorten(actual.get(field))} -> {_shorten(value)}"
        for field, value in desired.items()
        if actual.get(field) != value
    )


def apply_plan(plan: BootstrapPlan, actual: Sequence[Item]) -> list[Item]:
    """What there is after the plan was carried out: the plan of which is empty."""
    items = {(item.kind, item.name): item for item in actual}
    for step in plan.steps:
        key = step.item.kind, step.item.name
        if step.action == "remove":
            items.pop(key)
        else:
            before = items[key].fields if key in items else {}
            items[key] = replace(step.item, fields={**before, **step.item.fields})
    return list(items.values())


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
