"""Nodes of the bed as the tasks see them, and made ready once a session for whatever needs them so."""

from __future__ import annotations

from typing import Protocol

from pydantic import SecretStr

from tasks.fleet import Node, ServerKind
from tasks.servers import prepare

KINDS: dict[str, ServerKind] = {"web1": "apache", "web2": "apache", "web3": "nginx", "web4": "nginx"}

_ready: set[tuple[str, str]] = set()


class AnyBed(Protocol):
    """What is needed of the fixture `bed`."""

    @property
    def addresses(self) -> dict[str, str]: ...
    @property
    def host_keys(self) -> dict[str, str]: ...
    @property
    def private_key(self) -> object: ...


def node_of(bed: AnyBed, name: str) -> Node:
    """web1 ... web4 of the bed, logged in to as the platform user."""
    with open(str(bed.private_key), encoding="utf-8") as file:
        key = SecretStr(file.read())
    return Node(name, bed.addresses[name], KINDS[name], key, (bed.host_keys[name],))


def prepared(bed: AnyBed, *names: str) -> tuple[Node, ...]:
    """The named nodes (all four by default), ready. Takes 2 to 3 s a node the first time in a session."""
    nodes = tuple(node_of(bed, name) for name in names or KINDS)
    for node in nodes:
        # A bed may be replaced within a session; its host keys say that it is another one.
        if (node.name, node.host_keys[0]) not in _ready:
            prepare(node)
            _ready.add((node.name, node.host_keys[0]))
    return nodes
