"""Does every node see the same share, and is an owner the same there and on the server? Asked with a file."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.fleet import PLATFORM_USER, Machine, Node, Share, Target
from tasks.nfs.facts import run_as_root
from tasks.nfs.mounts import Mount, desired_mounts
from tasks.outcome import Outcome
from tasks.ssh import connect

# A mount that is not answered for this long is a failure; the command is killed, and else abandoned.
TOKEN_SECONDS = 20.0
GRACE_SECONDS = 130.0


@dataclass(frozen=True, slots=True)
class Token:
    """A file that one node wrote through its mounts: `name` in each of `points`, whose text is `text`."""

    writer: str
    name: str
    text: str
    points: tuple[str, ...]


def new_token(target: Target, node: Node) -> Token:
    """A token that `node` can write wherever it may write; no cache can have its name."""
    points = tuple(mount.point for mount in desired_mounts(target, node) if mount.writable)
    text = secrets.token_hex(8)
    return Token(node.name, f".packmaster-token.{node.name}.{text}", text, points)


def await_grace(server: Machine) -> Outcome:
    """Return when the server takes new opens, which it refuses for its grace period after a start."""
    run_as_root(connect(server.as_admin()), "await_grace", timeout=GRACE_SECONDS)
    return Outcome(server.name, "await NFS server", detail="takes new files")


def write_token(node: Node, token: Token) -> Outcome:
    """The token is written and read back through every writable mount, as the platform user."""
    ssh = connect(node.as_admin())
    args = (token.name, token.text, *token.points)
    run_as_root(ssh, "write_token", *args, timeout=TOKEN_SECONDS, user=PLATFORM_USER)
    return Outcome(node.name, "write token", detail=f"through {' and '.join(token.points)}")


def read_tokens(node: Node, target: Target, tokens: Sequence[Token], owner: str) -> Outcome:
    """Every token is seen through this node's mounts, with the owner (`uid:gid`) it was written by."""
    ssh = connect(node.as_admin())
    here = {mount.point for mount in desired_mounts(target, node)}
    for token in tokens:
        points = [point for point in token.points if point in here]
        args = (token.name, token.text, owner, *points)
        run_as_root(ssh, "read_token", *args, timeout=TOKEN_SECONDS, user=PLATFORM_USER)
    return Outcome(node.name, "read tokens", detail=f"of {', '.join(token.writer for token in tokens)}")


def find_tokens(
    server: Machine, target: Target, share: Share, tokens: Sequence[Token], owner: str
) -> Outcome:
    """Every token is on the server's own disk, with the owner (`uid:gid`) it was written by."""
    ssh = connect(server.as_admin())
    for token in tokens:
        directories = [directory_of(share, target, point) for point in token.points]
        run_as_root(ssh, "read_token", token.name, token.text, owner, *directories, timeout=TOKEN_SECONDS)
    return Outcome(server.name, "find tokens", detail=f"owner {owner} here, too")


def remove_token(node: Node, token: Token) -> Outcome:
    """The token is gone."""
    args = (token.name, *token.points)
    ssh = connect(node.as_admin())
    run_as_root(ssh, "remove_token", *args, timeout=TOKEN_SECONDS, user=PLATFORM_USER)
    return Outcome(node.name, "remove token", detail="removed")


def directory_of(share: Share, target: Target, point: str) -> str:
    """The server's directory of a mount point."""
    code: Mount = desired_mounts(target, target.nodes[0])[0]
    return share.code_path if point == code.point else share.data_path
