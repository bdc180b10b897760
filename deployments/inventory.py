"""The inventory file: what exists, in YAML, compared with what is registered and applied to it.

Blocks are named by their key. Secrets are never in the file: a secret field is a mapping with `file:` (a path
relative to the inventory) or `env:` (a variable's name). What the file does not name is left as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from blocks import (
    Cluster,
    DatabaseServer,
    NfsServer,
    Pack,
    Platform,
    Share,
    Site,
    SshCredentials,
    WebServer,
    site_block_name,
)
from blocks.inventory_block import InventoryBlock
from deployments.inventory_file import Sections, read_sections
from tasks.errors import PlanRefused
from tasks.names import check_slug, refuse_password

# In the order of what needs what: a block can only refer to one that is saved already.
SECTIONS: Mapping[str, type[InventoryBlock]] = {
    "ssh_credentials": SshCredentials,
    "web_servers": WebServer,
    "nfs_servers": NfsServer,
    "database_servers": DatabaseServer,
    "shares": Share,
    "clusters": Cluster,
    "packs": Pack,
    "platforms": Platform,
    "sites": Site,
}
# Fields that are lists of names: of a section, the field and whose entries it names.
MEMBERS: Mapping[str, tuple[str, str]] = {
    "clusters": ("servers", "web_servers"),
    "packs": ("slaves", "web_servers"),
    "database_servers": ("replicas", "database_servers"),
}
REFERENCES: Mapping[str, tuple[str, ...]] = {
    "credentials": ("ssh_credentials",),
    "server": ("nfs_servers",),
    "standby": ("nfs_servers",),
    "partner": ("nfs_servers",),
    "master": ("web_servers",),
    "share": ("shares",),
    "target": ("clusters", "packs", "web_servers"),
    "platform": ("platforms",),
    "database": ("database_servers",),
}


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One block as the file wants it; `fields` hold names for references and SecretStr for secrets."""

    section: str
    name: str
    fields: Mapping[str, Any]

    @property
    def block_name(self) -> str:
        return site_block_name(self.name) if self.section == "sites" else self.name


@dataclass(frozen=True, slots=True)
class Change:
    """What applying one entry does: `create`, `update` or `unchanged`; secrets are named, never shown."""

    section: str
    name: str
    action: str
    details: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.action:9} {self.section}/{self.name}" + "".join(
            f"\n            {d}" for d in self.details
        )


def read_inventory(path: Path) -> tuple[Entry, ...]:
    """The file's entries, in order of dependency; raises PlanRefused for anything that is not understood."""
    document = read_sections(path)
    unknown = sorted(set(document) - set(SECTIONS))
    if unknown:
        raise PlanRefused(f"{path}: unknown section {unknown[0]!a}", f"Use one of {', '.join(SECTIONS)}")
    entries = tuple(_read_entries(document, path))
    _check_references(entries)
    return entries


def _read_entries(document: Sections, path: Path) -> Iterator[Entry]:
    for section, block_type in SECTIONS.items():
        for name, raw in document.get(section, {}).items():
            where = f"{path}: {section}/{name}"
            fields = dict(raw)
            if section != "sites":
                check_slug(name, f"name of {section}")
            elif fields.setdefault("uri", name) != name:
                raise PlanRefused(f"{where} has another host name, {fields['uri']!a}", "Rename the entry")
            extra = sorted(set(fields) - set(block_type.model_fields))
            if extra:
                known = ", ".join(sorted(block_type.model_fields))
                raise PlanRefused(f"{where}: unknown field {extra[0]!a}", f"It has the fields {known}")
            refuse_password(str(fields.get("source", "")), f"{where}: source")
            for field in block_type.model_fields:
                if field in fields and block_type.model_fields[field].annotation is SecretStr:
                    fields[field] = _read_secret(fields[field], f"{where}: {field}", path.parent)
            yield Entry(section, name, fields)


def _read_secret(value: object, where: str, base: Path) -> SecretStr:
    if not isinstance(value, dict) or len(value) != 1 or not set(value) <= {"file", "env"}:
        raise PlanRefused(
            f"{where} is a secret and must not stand in the inventory",
            "Write {file: path} or {env: VARIABLE}",
        )
    if "env" in value:
        secret = os.environ.get(str(value["env"]))
        if secret is None:
            raise PlanRefused(f"{where}: the environment variable {value['env']} is not set")
        return SecretStr(secret)
    try:
        return SecretStr((base / str(value["file"])).read_text(encoding="utf-8").rstrip("\n"))
    except OSError as unreadable:
        raise PlanRefused(f"{where}: {unreadable}") from unreadable


def _check_references(entries: tuple[Entry, ...]) -> None:
    """Refuse dangling names before anything is saved; a name may also be registered already."""
    known = {(entry.section, entry.name) for entry in entries}
    for entry in entries:
        wanted = [(REFERENCES[f], v) for f, v in entry.fields.items() if f in REFERENCES]
        field, named = MEMBERS.get(entry.section, ("", ""))
        members = entry.fields.get(field)
        if isinstance(members, list):
            wanted += [((named,), name) for name in members]
        for sections, name in wanted:
            if not isinstance(name, str):
                raise PlanRefused(
                    f"{entry.section}/{entry.name} says what is not the name of an entry",
                    f"Describe it under {' or '.join(sections)}, and write its name here",
                )
            if not any((s, name) in known or SECTIONS[s].find(name) is not None for s in sections):
                raise PlanRefused(
                    f"{entry.section}/{entry.name} names {name!a}, neither in the file nor registered",
                    f"Add it under {' or '.join(sections)}, or correct the name",
                )


def plan_changes(blocks: Mapping[Entry, InventoryBlock]) -> tuple[Change, ...]:
    """What saving the built blocks would change, compared with what is registered now."""
    return tuple(
        _compare(entry, block, SECTIONS[entry.section].find(entry.block_name))
        for entry, block in blocks.items()
    )


def _compare(entry: Entry, block: InventoryBlock, registered: InventoryBlock | None) -> Change:
    if registered is None:
        return Change(entry.section, entry.name, "create")
    details = []
    for field in entry.fields:
        # The built block's value and not the file's, for a quoted number is a number.
        wanted, actual = getattr(block, field), getattr(registered, field)
        if isinstance(actual, InventoryBlock):
            same = type(actual) is type(wanted) and actual.name == entry.fields[field]
            wanted, actual = entry.fields[field], actual.name
        else:
            same = bool(actual == wanted)
        if not same:
            secret = isinstance(wanted, SecretStr)
            details.append(f"{field}: changed (secret)" if secret else f"{field}: {actual!r} -> {wanted!r}")
    return Change(entry.section, entry.name, "update" if details else "unchanged", tuple(details))


def build_blocks(entries: tuple[Entry, ...]) -> dict[Entry, InventoryBlock]:
    """Every entry as a block, nothing saved. Fields that the file leaves out keep their registered values.

    Raises PlanRefused, naming the field, when a value is not acceptable.
    """
    built: dict[Entry, InventoryBlock] = {}
    by_name: dict[tuple[str, str], InventoryBlock] = {}
    for entry in entries:
        block_type = SECTIONS[entry.section]
        registered = block_type.find(entry.block_name)
        fields: dict[str, Any] = {}
        if registered is not None:
            fields = {name: getattr(registered, name) for name in block_type.model_fields}
        fields |= entry.fields
        for field, sections in REFERENCES.items():
            if isinstance(fields.get(field), str):
                fields[field] = _find_reference(str(fields[field]), sections, by_name)
        block = _build_block(entry, block_type, fields)
        block.take_name(entry.block_name)
        if registered is not None:
            _identify(block, registered)
        built[entry] = by_name[entry.section, entry.name] = block
    return built


def _identify(block: InventoryBlock, registered: InventoryBlock) -> None:
    """Let Prefect know that `block` is registered.

    It refers to a registered block, and stores any other one inline: with its secrets in plain text.
    """
    block._block_document_id = registered._block_document_id
    block._block_document_name = registered._block_document_name
    block._is_anonymous = registered._is_anonymous


def _build_block(entry: Entry, block_type: type[InventoryBlock], fields: dict[str, Any]) -> InventoryBlock:
    try:
        return block_type(**fields)
    except ValidationError as invalid:
        first = invalid.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        # The cause is dropped: pydantic quotes its input, which may be a secret.
        raise PlanRefused(f"{entry.section}/{entry.name}: {where}: {first['msg']}") from None


def save_blocks(blocks: Mapping[Entry, InventoryBlock]) -> None:
    """Register or update the blocks; what they refer to is saved before them."""
    for entry, block in blocks.items():
        block.save(entry.block_name, overwrite=True)


def _find_reference(
    name: str, sections: tuple[str, ...], built: Mapping[tuple[str, str], InventoryBlock]
) -> InventoryBlock:
    for section in sections:
        found = built.get((section, name)) or SECTIONS[section].find(name)
        if found is not None:
            return found
    raise PlanRefused(f"{name!a} is not registered under {' or '.join(sections)}")
