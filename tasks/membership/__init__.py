"""Nodes that join a cluster or pack, and nodes that leave it."""

from __future__ import annotations

from pathlib import Path

from tasks.code import Built, Manifest
from tasks.code.copies import copy_release
from tasks.code.facts import read_manifest
from tasks.fleet import Node
from tasks.membership import apply, facts
from tasks.membership.facts import AccountIds
from tasks.membership.plan import Membership, choose_ids, plan_joining, plan_leaving, refuse_leaving
from tasks.outcome import Outcome
from tasks.ssh import connect
from tasks.steps import fact_task, host_task

__all__ = [
    "AccountIds",
    "Membership",
    "choose_ids",
    "copy_code",
    "is_let_in",
    "plan_joining",
    "plan_leaving",
    "read_ids",
    "read_release_manifest",
    "refuse_leaving",
    "revoke_key",
]


@fact_task("read ids", run_name="read the platform user's ids on {node.name}")
def read_ids(node: Node) -> AccountIds:
    """The platform user's numeric ids on the node are known."""
    return facts.read_ids(connect(node))


@fact_task("look for our key", run_name="look for our key on {node.name}")
def is_let_in(node: Node) -> bool:
    """Whether the platform user of the node lets us in is known."""
    return facts.is_let_in(connect(node.as_admin()))


@fact_task("read manifest", run_name="read the manifest of {release} on {node.name}")
def read_release_manifest(node: Node, platform: str, release: str) -> Manifest:
    """What a release consists of, as the node has it."""
    return read_manifest(connect(node), platform, release)


@fact_task("copy release", run_name="copy {release} of {platform} from {node.name}")
def copy_code(node: Node, platform: str, release: str, manifest: Manifest, workdir: Path) -> Built:
    """The release that the node has is a tree on the controller."""
    return copy_release(connect(node), platform, release, manifest, workdir)


@host_task("remove key", run_name="remove our key from {node.name}")
def revoke_key(node: Node) -> Outcome:
    """The platform user does not let us in any more."""
    return apply.revoke_key(connect(node))
