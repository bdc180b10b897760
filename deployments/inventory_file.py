"""The inventory file as plain data: sections of named entries, each a mapping of fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tasks.errors import PlanRefused

Sections = dict[str, dict[str, dict[str, Any]]]


def read_sections(path: Path) -> Sections:
    """What the file says, by section and name; raises PlanRefused when it has any other shape."""
    try:
        document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, YAMLError) as broken:
        raise PlanRefused(f"the inventory {path} cannot be read: {broken}") from broken
    if not isinstance(document, dict):
        raise PlanRefused(
            f"the inventory {path} is not a mapping",
            "See deployments/inventory.example.yaml for its sections",
        )
    sections: Sections = {}
    for section, entries in document.items():
        if not isinstance(entries, dict | None):
            raise PlanRefused(
                f"{path}: {section} is not a mapping", "Write entries as `name: {field: value}`"
            )
        for name, fields in (entries or {}).items():
            if not isinstance(fields, dict):
                raise PlanRefused(f"{path}: {section}/{name} is not a mapping of fields")
        sections[str(section)] = {str(name): dict(fields) for name, fields in (entries or {}).items()}
    return sections
