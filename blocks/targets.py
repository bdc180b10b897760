"""What a platform can be deployed to: a cluster, a pack, or a single web server."""

from __future__ import annotations

from pydantic import Field, HttpUrl, field_validator

from blocks.inventory_block import InventoryBlock, as_field_check
from blocks.servers import WebServer
from blocks.share import Share
from tasks import fleet
from tasks.errors import PlanRefused
from tasks.fleet import Node, Target
from tasks.names import unique_or_refuse
from tasks.nfs.clients import refuse_uncovered


def check_members(names: list[str]) -> tuple[str, ...]:
    """Return the names of member servers; raises PlanRefused for a repeated one."""
    return unique_or_refuse(names, "web server")


class Cluster(InventoryBlock):
    """A virtual server made of ordinary web servers, each with its own copy of everything.

    Servers are named, not nested: a list of blocks would be stored inline, with its secrets in plain text.

    Example:
        ```python
        from blocks import Cluster

        target = Cluster.load("BLOCK_NAME").resolve()
        ```
    """

    _block_type_name = "Cluster"
    _block_type_slug = "packmaster-cluster"
    _description = "Web servers that serve the same platforms and sites, each from its own copy."
    _logo_url = HttpUrl("https://cdn.simpleicons.org/serverfault")
    _documentation_url = HttpUrl("https://docs.aegirproject.org/usage/advanced/clustering/")

    servers: list[str] = Field(
        title="Web servers", description="Names of web server blocks that are its members.", min_length=1
    )

    _unique = field_validator("servers")(as_field_check(check_members))

    def resolve(self) -> Target:
        """Its members as nodes; raises PlanRefused for an unknown, repeated or doubly registered server."""
        return Target(self.name, resolve_servers(tuple(self.servers), f"cluster {self.name}"))


class Pack(InventoryBlock):
    """A virtual server: one master, which writes code and data, and slaves that see them over NFS.

    Slaves are named, not nested: a list of blocks would be stored inline, with its secrets in plain text.

    Example:
        ```python
        from blocks import Pack

        target = Pack.load("BLOCK_NAME").resolve()
        ```
    """

    _block_type_name = "Pack"
    _block_type_slug = "packmaster-pack"
    _description = "A master and slaves that serve the same platforms and sites from one NFS share."
    _logo_url = HttpUrl("https://cdn.simpleicons.org/openstack")
    _documentation_url = HttpUrl("https://docs.aegirproject.org/usage/advanced/clustering/")

    master: WebServer = Field(description="The web server that code and data are written on.")
    slaves: list[str] = Field(
        title="Slaves",
        description="Names of the web server blocks that mount the share and serve the same sites.",
        min_length=1,
    )
    share: Share = Field(description="What they all mount.")

    _unique = field_validator("slaves")(as_field_check(check_members))

    def resolve(self) -> Target:
        """Its master, slaves and share; raises PlanRefused for a contradiction, naming the machine."""
        about, master = f"pack {self.name}", self.master.name
        if master in self.slaves:
            raise PlanRefused(
                f"{about}: its master {master} is among its slaves", "Take it out of the slaves"
            )
        nodes, share = resolve_servers((master, *self.slaves), about), self.share.resolve()
        refuse_uncovered(share.name, share.clients, [(node.name, node.address) for node in nodes])
        refuse_same_names(about, nodes, share)
        machines = [share.server, *([share.standby] if share.standby else [])]
        for node in nodes[1:]:
            if any(node.endpoint == machine.endpoint for machine in machines):
                raise PlanRefused(
                    f"{about}: the slave {node.name} is an NFS server of share {share.name}",
                    "A machine that mounts its own export can lock up: make it the master, or take another",
                )
        return Target(self.name, nodes, master, share)


def refuse_same_names(about: str, nodes: tuple[Node, ...], share: fleet.Share) -> None:
    """Raise PlanRefused for a web server and an NFS server of one name: what is read and planned goes by it.

    One machine may be both, under two names.
    """
    names = {node.name for node in nodes}
    for machine in (share.server, share.standby, share.partner):
        if machine is not None and machine.name in names:
            raise PlanRefused(
                f"{about}: a web server and an NFS server of share {share.name} are both registered as "
                f"{machine.name}",
                f"Register the NFS server under a name of its own, for example {machine.name}-nfs, and name "
                "that in the share; it may be the same machine",
            )


def resolve_servers(names: tuple[str, ...], asked_by: str) -> tuple[Node, ...]:
    """The named web servers as nodes, in order; raises PlanRefused when two of them are one machine."""
    registered = WebServer.find_named(names)
    # A name that is not there is asked for once more, alone: the answer is the message.
    nodes = tuple((registered.get(name) or WebServer.get(name, asked_by)).node() for name in names)
    seen: dict[tuple[str, int], str] = {}
    for node in nodes:
        other = seen.setdefault((node.address, node.port), node.name)
        if other != node.name:
            raise PlanRefused(
                f"{asked_by}: {other} and {node.name} are the same machine, {node.address}:{node.port}",
                "Keep one of them",
            )
    return nodes


def resolve_target(target: Cluster | Pack | WebServer) -> Target:
    """Any target as nodes: a cluster's members, a pack's master and slaves, or one web server."""
    if isinstance(target, Cluster | Pack):
        return target.resolve()
    return Target(target.name, (target.node(),))
