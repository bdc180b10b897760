"""Blocks of which only the names matter: nothing is ever asked of these servers."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from blocks import Cluster, DatabaseServer, Platform, Site, SshCredentials, WebServer, site_block_name
from blocks.inventory_block import InventoryBlock


def named(block: Any, name: str) -> Any:
    """The block as one that was registered as `name`; it is on no server."""
    assert isinstance(block, InventoryBlock)
    block.take_name(name)
    return block


def a_site(profile: str = "php", uri: str = "a.org", **fields: Any) -> Site:
    """A site on a platform of that profile, not registered."""
    credentials = named(SshCredentials(private_key=SecretStr("key")), "key")
    server = WebServer(
        address="192.0.2.1", kind="apache", credentials=credentials, host_keys=["ssh-rsa AAAA"]
    )
    platform = Platform(target=named(server, "web1"), source="/srv/a", profile=profile)
    database = DatabaseServer(host="192.0.2.20", admin_user="root", admin_password=SecretStr("password"))
    site = Site(uri=uri, platform=named(platform, "a"), database=named(database, "db"), **fields)
    return named(site, site_block_name(uri))


def save_cluster(name: str) -> Cluster:
    """A cluster of one server, registered."""
    SshCredentials(private_key=SecretStr("key")).save(f"{name}-key", overwrite=True)
    credentials = SshCredentials.load(f"{name}-key")
    server = WebServer(
        address="192.0.2.1", kind="apache", credentials=credentials, host_keys=["ssh-rsa AAAA"]
    )
    server.save(f"{name}-web1", overwrite=True)
    Cluster(servers=[f"{name}-web1"]).save(name, overwrite=True)
    return Cluster.get(name, "a test")


def save_site(uri: str, platform: str, **fields: Any) -> Site:
    """A site on a registered platform, registered."""
    database = DatabaseServer(host="192.0.2.20", admin_user="root", admin_password=SecretStr("password"))
    database.save(f"{platform}-db", overwrite=True)
    site = Site(
        uri=uri,
        platform=Platform.get(platform, "a test"),
        database=DatabaseServer.load(f"{platform}-db"),
        **fields,
    )
    site.save(site_block_name(uri), overwrite=True)
    return site
