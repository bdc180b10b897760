"""Who may mount an export: addresses and subnets, checked before anything is exported to them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from tasks.errors import PlanRefused

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# A subnet wider than this is more than anybody's web servers; exports(5) would take it without a word.
WIDEST = {4: 16, 6: 48}


def check_client(client: str) -> Network:
    """Return `client`, an address or subnet, as a network; raises PlanRefused for anything else.

    exports(5) also takes names, netgroups and wildcards: an export to `*`, or one to a name that somebody
    else's DNS answers, is one to the world, and is refused.
    """
    try:
        network = ipaddress.ip_network(client)
    except ValueError as wrong:
        raise PlanRefused(
            f"the NFS client {client!a} is neither an address nor a subnet ({wrong})",
            "Give addresses like 192.0.2.11 or subnets like 192.0.2.0/24; names and wildcards are refused",
        ) from None
    if network.prefixlen < WIDEST[network.version]:
        raise PlanRefused(
            f"an export to {client} would be open to almost everybody",
            f"Give a subnet of /{WIDEST[network.version]} or narrower, or the addresses of the nodes",
        )
    return network


def refuse_uncovered(share: str, clients: Sequence[str], addresses: Iterable[tuple[str, str]]) -> None:
    """Raise PlanRefused for the first (name, address) that none of `clients` covers.

    An empty list covers everybody: the export is then made for exactly the machines of the pack.
    """
    networks = [check_client(client) for client in clients]
    for name, address in addresses:
        inside = ipaddress.ip_address(check_address(name, address))
        if networks and not any(inside in network for network in networks):
            raise PlanRefused(
                f"the clients of share {share} do not cover {name} ({address})",
                f"Add {address} or its subnet to the share's clients, or leave the list empty",
            )


def check_address(name: str, address: str) -> str:
    """Return the address of a machine that mounts a share; raises PlanRefused for a host name."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise PlanRefused(
            f"{name} is registered as {address!a}, which is not an address",
            "Register machines of a pack by IP address, so that exports do not depend on DNS",
        ) from None
