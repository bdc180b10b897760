"""Inventory files of a fleet, each with names of its own: tests share only the server."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from deployments.inventory import build_blocks, plan_changes, read_inventory, save_blocks

KEY = "inv-private-key-51d2"
PASSWORD = "inv-admin-password-8e0f"


def make_document(prefix: str, *sections: str) -> dict[str, Any]:
    """A fleet, or some sections of it, every name beginning with `prefix`: tests share only the server."""
    document = make_fleet(prefix)
    return {section: document[section] for section in sections or document}


def make_fleet(prefix: str) -> dict[str, Any]:
    server = {"kind": "apache", "credentials": f"{prefix}-key", "host_keys": ["ssh-ed25519 AAAA"]}
    return {
        "ssh_credentials": {f"{prefix}-key": {"private_key": {"file": "id"}}},
        "web_servers": {
            f"{prefix}-web1": server | {"address": "192.0.2.1"},
            f"{prefix}-web2": server | {"address": "192.0.2.2", "kind": "nginx"},
        },
        "database_servers": {
            f"{prefix}-db": {
                "host": "192.0.2.20",
                "admin_user": "packmaster",
                "admin_password": {"env": "INVENTORY_PASSWORD"},
            }
        },
        "clusters": {f"{prefix}-web": {"servers": [f"{prefix}-web1", f"{prefix}-web2"]}},
        "platforms": {f"{prefix}-blog": {"target": f"{prefix}-web", "source": "/srv/blog"}},
        "sites": {
            f"{prefix}.example.org": {
                "platform": f"{prefix}-blog",
                "database": f"{prefix}-db",
                "aliases": [f"www.{prefix}.example.org"],
            }
        },
    }


@pytest.fixture(autouse=True)
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "id").write_text(f"{KEY}\n")
    monkeypatch.setenv("INVENTORY_PASSWORD", PASSWORD)


def write(tmp_path: Path, document: Any) -> Path:
    path = tmp_path / "inventory.yaml"
    with path.open("w") as stream:
        YAML(typ="safe").dump(document, stream)
    return path


def apply(path: Path) -> dict[str, str]:
    """What the command does, without its output: by name, what was done."""
    entries = read_inventory(path)
    blocks = build_blocks(entries)
    changes = plan_changes(blocks)
    changed = {(change.section, change.name) for change in changes if change.action != "unchanged"}
    save_blocks({e: block for e, block in blocks.items() if (e.section, e.name) in changed})
    return {change.name: change.action for change in changes}


def show(path: Path) -> str:
    return "\n".join(str(change) for change in plan_changes(build_blocks(read_inventory(path))))


def read_raw(server: str, block_type: str, name: str) -> dict[str, Any]:
    path = f"{server}/block_types/slug/{block_type}/block_documents/name/{name}"
    document: dict[str, Any] = httpx.get(path, timeout=10).raise_for_status().json()
    return document


def make_pack(prefix: str, **share: Any) -> dict[str, Any]:
    """Two NFS servers, a share of the first, and a pack of the fleet's two servers."""
    server = {"credentials": f"{prefix}-key", "host_keys": ["ssh-ed25519 AAAA"]}
    return make_document(prefix, "ssh_credentials", "web_servers") | {
        "nfs_servers": {
            f"{prefix}-nfs1": server | {"address": "192.0.2.61"},
            f"{prefix}-nfs2": server | {"address": "192.0.2.62"},
        },
        "shares": {f"{prefix}-files": {"server": f"{prefix}-nfs1", **share}},
        "packs": {
            f"{prefix}-pack": {
                "master": f"{prefix}-web1",
                "slaves": [f"{prefix}-web2"],
                "share": f"{prefix}-files",
            }
        },
    }
