"""The address of a node as the database sees it: found by asking the database, never by asking the node."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import pymysql
from pydantic import SecretStr

from tasks.errors import PlanRefused, Unreachable
from tasks.fleet import Database, Node
from tasks.grants.connection import error_code, error_of, log_in_from
from tasks.ssh import connect

# Behind a pool of addresses, or with two address families, one login does not show them all.
PROBES = 3

_DENIED = re.compile(r"Access denied for user '.*'@'(?P<host>[^']+)'", re.DOTALL)
_NOT_ALLOWED = re.compile(r"Host '(?P<host>[^']+)' is not allowed")
# 1045 and 1698: this user may not; 1130: nobody from there may. All three name the host.
_TELLING = {1045: _DENIED, 1698: _DENIED, 1130: _NOT_ALLOWED}


@dataclass(frozen=True, slots=True)
class NodeAddresses:
    """The addresses that one node was seen under, by the database and by its readers.

    `silent` are the readers that did not answer it, each with the reason: under which address they see the
    node is not known, so none may be called stale.
    """

    addresses: tuple[str, ...]
    silent: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Sightings:
    """What was found out of the addresses of several nodes.

    `nodes` maps each node to its addresses, none where it was not seen. `shared` are addresses under which
    more than one node was seen, so that nothing can be said of either of them alone: there is a proxy or a
    NAT in front of the database, and an account at its address lets in whoever comes through it. `silent`
    maps each reader that did not answer to the nodes that asked, with the reasons.
    """

    nodes: tuple[tuple[str, tuple[str, ...]], ...]
    shared: tuple[tuple[str, tuple[str, ...]], ...] = ()
    silent: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every address that was seen."""
        return tuple(sorted({address for _, addresses in self.nodes for address in addresses}))

    @property
    def seen(self) -> dict[str, tuple[str, ...]]:
        """The addresses of the nodes that the database saw."""
        return {name: addresses for name, addresses in self.nodes if addresses}

    @property
    def unseen(self) -> tuple[str, ...]:
        """The nodes that the database did not see: of their addresses nothing is known."""
        return tuple(name for name, addresses in self.nodes if not addresses)

    @property
    def uncertain(self) -> frozenset[str]:
        """The nodes of which an address may be unknown, so that none of theirs may be called stale."""
        unanswered = (name for _, asked in self.silent for name, _ in asked)
        return frozenset((*self.unseen, *unanswered))

    @property
    def notes(self) -> tuple[str, ...]:
        """What an operator has to know of them."""
        return tuple(
            f"identity lost: the database sees {', '.join(names)} all as {address}; an account at it is for "
            "whatever comes through there, and nothing proves which of them may"
            for address, names in self.shared
        )

    @property
    def troubles(self) -> dict[str, str]:
        """What is wrong, by reader: its grants are looked after again when it answers."""
        return {
            reader: f"it did not answer {len(asked)} node(s), {asked[0][0]} first ({asked[0][1]}): nothing "
            "is taken from their sites. Start it, or take it out of its server's `replicas`"
            for reader, asked in self.silent
        }


def sight(found: Mapping[str, NodeAddresses], nodes: Sequence[str]) -> Sightings:
    """Return what `found`, by node, says about `nodes`."""
    behind: dict[str, list[str]] = {}
    silent: dict[str, list[tuple[str, str]]] = {}
    nobody = NodeAddresses(())
    for name in sorted(nodes):
        for address in found.get(name, nobody).addresses:
            behind.setdefault(address, []).append(name)
        for reader, why in found.get(name, nobody).silent:
            silent.setdefault(reader, []).append((name, why))
    return Sightings(
        tuple((name, tuple(sorted(found.get(name, nobody).addresses))) for name in sorted(nodes)),
        tuple((address, tuple(names)) for address, names in sorted(behind.items()) if len(names) > 1),
        tuple((reader, tuple(asked)) for reader, asked in sorted(silent.items())),
    )


def parse_refusal(code: int, message: str) -> str | None:
    """Return the host that a refused login was seen as coming from, or None when the error does not say."""
    pattern = _TELLING.get(code)
    found = pattern.search(message) if pattern else None
    return found["host"] if found else None


def canonical_address(host: str) -> str:
    """Return `host` as the one spelling under which a grant matches; refuse what is not an address of a node.

    Raises PlanRefused for a name (the server resolves names, so its grants would hang on somebody's DNS) and
    for a loopback address (the login came through something on the database server itself).
    """
    try:
        address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(host)
    except ValueError:
        raise PlanRefused(
            f"the database saw a connection as coming from the name {host!a}, not from an address",
            "Set skip_name_resolve on the database server, so that grants do not depend on DNS",
        ) from None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback or address.is_unspecified:
        raise PlanRefused(
            f"the database saw a connection as coming from {address}, which is itself",
            "Register the database server under the address that web nodes reach it at, not a local proxy",
        )
    return str(address)


def discover_client_addresses(node: Node, database: Database, *, probes: int = PROBES) -> NodeAddresses:
    """Return every address that the database and its readers saw `node` under in `probes` logins, sorted.

    A probe account without any privilege is asked with, where the server has one; otherwise a user name that
    nobody has is refused, and the refusal names the address. A reader that is down is no reason to give
    nobody access: it is named in the result. Raises Unreachable when the database itself did not answer and
    PlanRefused when an answer is no address; never gives anything that was not observed.
    """
    seen, silent = _probe_often(node, database, probes), {}
    for reader in database.readers:
        try:
            seen |= _probe_often(node, reader, probes)
        except Unreachable as lost:
            silent[reader.name] = str(lost)
    return NodeAddresses(tuple(sorted(seen)), tuple(silent.items()))


def _probe_often(node: Node, database: Database, probes: int) -> set[str]:
    return {canonical_address(_probe(node, database)) for _ in range(probes)}


def _probe(node: Node, database: Database) -> str:
    where = f"{database.name} from {node.name}"
    # 12 random bytes: never an account, and within every server's limit for user names.
    name = database.probe_user or f"pm_probe_{secrets.token_hex(6)}"
    password = (database.probe_user and database.probe_password) or SecretStr("")
    try:
        with closing(log_in_from(connect(node), database, name, password)) as connection:
            # The probe account, or an anonymous one that let us in: then the server can be asked.
            with connection.cursor() as cursor:
                cursor.execute("SELECT USER()")
                row = cursor.fetchone()
            return str(row[0]).rpartition("@")[2] if row else ""
    except pymysql.MySQLError as error:
        host = parse_refusal(error_code(error), str(error.args[-1]) if error.args else "")
        if host is None:
            raise error_of(error, where, "ask which address the node has") from None
        return host
    except (OSError, EOFError) as lost:
        raise Unreachable(where, str(lost)) from lost
