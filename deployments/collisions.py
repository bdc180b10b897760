"""Entries that would get in each other's way: one machine under two names, one share of two packs.

Flows lock what they work on by its name, so two names of one machine would let two of them in at once.
A web server and an NFS server may be one machine: they are two kinds, and a pack's flows lock both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from blocks import DatabaseServer, NfsServer, Pack, WebServer
from blocks.inventory_block import InventoryBlock
from tasks.errors import PlanRefused

REMEDY = "Keep one of the entries; the block of the other is deleted in the UI, under Blocks"
KINDS: tuple[type[InventoryBlock], ...] = (WebServer, NfsServer, DatabaseServer, Pack)
Blocks = Mapping[tuple[type[InventoryBlock], str], InventoryBlock]


def list_registered() -> Blocks:
    """Every registered block that may collide, by kind and name."""
    return {(kind, name): block for kind in KINDS for name, block in kind.find_all().items()}


def find_collisions(blocks: Blocks) -> Iterator[str]:
    """What two or more blocks of a kind are or have, and must not: a sentence each, sorted."""
    having: dict[str, list[str]] = defaultdict(list)
    for (_, name), block in blocks.items():
        having[_tell_common(block)].append(name)
    for common, names in sorted(having.items()):
        if common and len(names) > 1:
            yield f"{' and '.join(sorted(names))} are {common}"


def refuse_collisions(wanted: Blocks) -> None:
    """Raise PlanRefused when what is wanted would collide, with itself or with what is registered."""
    registered = list_registered()
    known = set(find_collisions(registered))
    for collision in find_collisions({**registered, **wanted}):
        if collision not in known:
            raise PlanRefused(collision, REMEDY)


def _tell_common(block: InventoryBlock) -> str:
    if isinstance(block, WebServer | NfsServer):
        kind = "web server" if isinstance(block, WebServer) else "NFS server"
        return f"one {kind}, {block.address.lower()} port {block.ssh_port}"
    if isinstance(block, DatabaseServer):
        return f"one database server, {block.host.lower()} port {block.port}"
    return f"packs of one share, {block.share.name}" if isinstance(block, Pack) else ""
