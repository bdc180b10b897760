"""What add-site makes of what was given, and of what is registered already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from blocks import Cluster, DatabaseServer, Platform, Site, SshCredentials, WebServer, site_block_name
from flows.add_site import describe_site

URI = "again.example.org"


@dataclass(frozen=True)
class Registered:
    """A platform and a database server, neither of which has to answer."""

    platform: Platform
    database: DatabaseServer

    def describe(self, aliases: list[str] | None, redirects: list[str] | None = None) -> Site:
        return describe_site(URI, self.platform, self.database, aliases, redirects, "", "")


@pytest.fixture(scope="module")
def registered(prefect_server: str) -> Iterator[Registered]:
    SshCredentials(private_key=SecretStr("a key")).save("again-key")
    key = SshCredentials.load("again-key")
    server = WebServer(address="192.0.2.1", kind="nginx", host_keys=["ssh-ed25519 AAAA"], credentials=key)
    server.save("again1")
    Cluster(servers=["again1"]).save("again-web")
    Platform(target=Cluster.load("again-web"), source="/srv/again").save("again")
    DatabaseServer(host="192.0.2.2", admin_user="root", admin_password=SecretStr("x")).save("again-db")
    yield Registered(Platform.load("again"), DatabaseServer.load("again-db"))
    # Its names would be taken in every test that comes after.
    Site.unregister(site_block_name(URI))


def test_names_are_kept_when_none_are_given_and_emptied_in_the_block(registered: Registered) -> None:
    first = registered.describe(["one.example.org", "two.example.org"], ["old.example.org"])
    first.register()
    # A form that was filled in and emptied again sends a list without anything in it.
    for nothing in (None, []):
        again = registered.describe(nothing, nothing)
        assert (again.aliases, again.redirects) == (first.aliases, first.redirects)
        assert again.database_password == first.database_password
    assert registered.describe(["two.example.org"]).aliases == ["two.example.org"]
    block = Site.get(site_block_name(URI), "a test")
    block.aliases = []
    block.save(block.name, overwrite=True)
    assert (registered.describe([]).aliases, registered.describe([]).redirects) == ([], first.redirects)
