"""What a server is: one script over SSH, as the login that may administer it."""

from __future__ import annotations

import base64
import shlex
from collections import defaultdict
from itertools import pairwise
from typing import Any, cast

from tasks.fleet import PLATFORM_USER, Node
from tasks.handshake import load_private_key
from tasks.scripts import read_script, run_text_as_root
from tasks.servers import managed
from tasks.servers.nginx import include_state
from tasks.servers.state import (
    PHP_SOCKET,
    WEB_SERVICE,
    Account,
    DesiredServer,
    PathKind,
    PathState,
    ServerFacts,
    ServiceState,
)
from tasks.ssh import Ssh, connect

FACTS_SECONDS = 60.0
_KEY_TYPES = ("ssh-", "ecdsa-", "sk-")

Fields = list[list[str]]


def parse_facts(host: str, text: str) -> ServerFacts:
    """Turn the lines of facts.sh, `key<TAB>value...`, into ServerFacts; keys it does not know are ignored."""
    seen: defaultdict[str, Fields] = defaultdict(list)
    for line in text.splitlines():
        key, *values = line.split("\t")
        seen[key].append(values)
    system, families = seen["system"][0] if seen["system"] else ("", "")
    group = _first(seen["group"])
    return ServerFacts(
        host=host,
        system=system,
        families=frozenset(families.split()),
        packages=frozenset(values[0] for values in seen["package"]),
        php=_first(seen["php"]),
        user=_parse_account(seen["user"]),
        group_gid=int(group.split(":")[2]) if group else None,
        uid_holder=_first(seen["uid_holder"]),
        gid_holder=_first(seen["gid_holder"]),
        web_group=bool(seen["web_group"]),
        paths={values[0]: _parse_path(values) for values in seen["path"]},
        modules=frozenset(values[0] for values in seen["module"]),
        include=include_state(_decode(seen["nginx_conf"][0][0])) if seen["nginx_conf"] else "no file",
        services={values[0]: _parse_service(values) for values in seen["service"]},
        listeners=frozenset(values[0] for values in seen["listener"]),
        keys=parse_keys(_decode(seen["keys"][0][0]) if seen["keys"] else ""),
        stray_policy=bool(seen["stray_policy"]),
    )


def parse_keys(text: str) -> frozenset[str]:
    """The keys of an authorized_keys file, as `<type> <base64>`, without options and comments (sshd(8))."""
    keys = set()
    for line in text.splitlines():
        try:
            words = [] if line.lstrip().startswith("#") else shlex.split(line, posix=False)
        except ValueError:
            words = line.split()
        for kind, blob in pairwise(words):
            if kind.startswith(_KEY_TYPES) and blob.startswith("AAAA"):
                keys.add(f"{kind} {blob}")
                break
    return frozenset(keys)


def desired_server(node: Node, uid: int = 5000, gid: int = 5000) -> DesiredServer:
    """What `node` has to be: its platform user logs in with the key that is registered for it."""
    key = load_private_key(node)
    return DesiredServer(node.kind, f"{key.get_name()} {key.get_base64()}", uid, gid, node.http_port)


def read_facts(node: Node, desired: DesiredServer) -> ServerFacts:
    """Read everything the plan asks about from one server, changing nothing there."""
    paths = [
        *(item.path for item in managed.DIRECTORIES),
        *(item.path for item in managed.managed_files(desired.kind)),
        *(managed.LIVE, managed.APACHE_CONF_LINK, managed.DEFAULT_SITE[desired.kind], PHP_SOCKET),
    ]
    text = run_as_root(
        connect(node.as_admin()),
        "facts",
        WEB_SERVICE[desired.kind],
        str(desired.port),
        str(desired.uid),
        str(desired.gid),
        " ".join(managed.packages_for(desired.kind)),
        *paths,
        timeout=FACTS_SECONDS,
    )
    return parse_facts(node.name, text)


def run_as_root(
    ssh: Ssh[Any],
    script: str,
    *args: str,
    timeout: float,
    stdin: bytes | None = None,
    user: str = "root",
) -> str:
    """Run one of this package's scripts as `user`, and return what it printed."""
    text = read_script("tasks.servers", script)
    return run_text_as_root(ssh, text, *args, timeout=timeout, stdin=stdin, user=user)


def _first(rows: Fields) -> str | None:
    return rows[0][0] if rows else None


def _decode(text: str) -> str:
    return base64.b64decode(text).decode("utf-8", "replace")


def _parse_account(rows: Fields) -> Account | None:
    if not rows:
        return None
    entry, groups = rows[0]
    name, _, uid, gid, _, home, shell = entry.split(":")
    if name != PLATFORM_USER:
        return None
    return Account(name, int(uid), int(gid), home, shell, frozenset(groups.split(",")))


def _parse_path(values: list[str]) -> PathState:
    _, kind, owner, group, mode, digest = values
    return PathState(cast("PathKind", kind), owner, group, int(mode, 8), digest)


def _parse_service(values: list[str]) -> ServiceState:
    _, enabled, running, waiting, error = values
    return ServiceState(enabled == "yes", running == "yes", waiting == "yes", _decode(error).strip())
