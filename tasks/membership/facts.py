"""What has to be known of nodes before one joins them."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.handshake import load_private_key
from tasks.servers.managed import AUTHORIZED_KEYS
from tasks.ssh import Ssh

# A server that no platform user was ever made on has no such file.
_FIND_KEY = """
grep -qsF -- "$1" "$2" && echo found || true
"""


@dataclass(frozen=True, slots=True)
class AccountIds:
    """The platform user's numeric ids on one node."""

    uid: int
    gid: int


def parse_ids(printed: str) -> AccountIds:
    """Read what `id -u; id -g` printed."""
    uid, gid = printed.split()
    return AccountIds(int(uid), int(gid))


def read_ids(ssh: Ssh) -> AccountIds:
    """Return the ids that the platform user, whose login this is, has there."""
    return parse_ids(ssh.run_script("id -u; id -g", meaning="cannot ask for the ids").text)


def is_let_in(admin: Ssh) -> bool:
    """Say whether the platform user's keys have ours; asked with the admin login, which is there when not."""
    key = public_key(admin)
    as_user = None if admin.node.user == "root" else "root"
    found = admin.run_script(
        _FIND_KEY, key, AUTHORIZED_KEYS, as_user=as_user, meaning="cannot look for our key"
    )
    return bool(found.out)


def public_key(ssh: Ssh) -> str:
    """Our key as it stands in a file of authorized keys, without its comment."""
    key = load_private_key(ssh.node)
    return f"{key.get_name()} {key.get_base64()}"
