"""Nodes of the bed as the tasks see them, and made ready once a session for whatever needs them so."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest
from pydantic import SecretStr

from tasks.fleet import Node, ServerKind
from tasks.servers import prepare

KINDS: dict[str, ServerKind] = {"web1": "apache", "web2": "apache", "web3": "nginx", "web4": "nginx"}
MACHINE_KINDS: dict[str, ServerKind] = {"master1": "apache", "slave1": "apache", "slave2": "nginx"}

_ready: set[tuple[str, str]] = set()


class AnyBed(Protocol):
    """What is needed of the fixtures `bed` and `pack_bed`."""

    @property
    def addresses(self) -> dict[str, str]: ...
    @property
    def host_keys(self) -> dict[str, str]: ...
    @property
    def private_key(self) -> object: ...


def node_of(bed: AnyBed, name: str) -> Node:
    """web1 ... web4 of the bed, or a web server of the pack, logged in to as the platform user."""
    with open(str(bed.private_key), encoding="utf-8") as file:
        key = SecretStr(file.read())
    return Node(name, bed.addresses[name], (KINDS | MACHINE_KINDS)[name], key, (bed.host_keys[name],))


def prepared(bed: AnyBed, *names: str) -> tuple[Node, ...]:
    """The named nodes (web1 ... web4 by default), ready. The first time in a session, 2 to 3 s a node."""
    nodes = tuple(node_of(bed, name) for name in names or KINDS)
    # A bed may be replaced within a session; its host keys say that it is another one.
    new = [node for node in nodes if (node.name, node.host_keys[0]) not in _ready]
    # One after the other is as fast for containers; the machines of a pack wait more than they work.
    with ThreadPoolExecutor(max(1, len(new) if set(names) & set(MACHINE_KINDS) else 1)) as pool:
        list(pool.map(prepare, new))
    _ready.update((node.name, node.host_keys[0]) for node in new)
    return nodes


@pytest.fixture(scope="session")
def prepared_pack(pack_bed: AnyBed) -> tuple[Node, ...]:
    """master1, slave1 and slave2 as prepare-server leaves them. Half a minute the first time."""
    return prepared(pack_bed, *MACHINE_KINDS)
