"""Which nodes serve which sites: one that leads nowhere is no reason to leave all sites alone."""

from typing import Any

import pytest
from pydantic import SecretStr

from blocks import Cluster, DatabaseServer, Platform, Site, SshCredentials, WebServer
from flows.reconcile_grants import find_users
from flows.serving import find_databases, serve


def saved(block: Any, name: str) -> Any:
    block.save(name, overwrite=True)
    return type(block).load(name)


@pytest.fixture(scope="module")
def sites(prefect_server: str) -> tuple[Site, ...]:
    """One that is well, one on an unknown server, one on a database with an unknown replica."""
    key = saved(SshCredentials(private_key=SecretStr("key")), "srv-key")
    web = WebServer(address="192.0.2.1", kind="apache", host_keys=["ssh-ed25519 AAAA"], credentials=key)
    saved(web, "srv-web1")
    clusters = [saved(Cluster(servers=[f"srv-{name}"]), f"srv-cluster-{name}") for name in ("web1", "nobody")]
    well, dangling = (
        saved(Platform(target=cluster, source="/srv/blog"), f"srv-{number}")
        for number, cluster in enumerate(clusters)
    )
    database = DatabaseServer(host="192.0.2.20", admin_user="root", admin_password=SecretStr("secret"))
    known = saved(database, "srv-db")
    lost = saved(database.model_copy(update={"replicas": ["srv-gone"]}), "srv-db-lost")
    return tuple(
        Site(uri=f"{name}.example.org", platform=platform, database=server)
        for name, platform, server in (
            ("well", well, known),
            ("dangling", dangling, known),
            ("lost", well, lost),
        )
    )


def test_what_leads_nowhere_is_named_and_the_others_go_on(sites: tuple[Site, ...]) -> None:
    serving, outcomes = serve(sites)
    assert [(each.site.uri, [node.name for node in each.nodes]) for each in serving] == [
        ("well.example.org", ["srv-web1"])
    ]
    assert {outcome.host: outcome.ok for outcome in outcomes} == {"srv-1": False, "srv-db-lost": False}
    said = {outcome.host: str(outcome.error) for outcome in outcomes}
    assert "srv-nobody" in said["srv-1"]
    assert "srv-gone" in said["srv-db-lost"]
    databases, unknown = find_databases(sites)
    assert [*databases] == ["srv-db"]
    assert unknown.failed_hosts == {"srv-db-lost"}


def test_accounts_of_sites_that_lead_nowhere_are_nobody_elses_left_overs(sites: tuple[Site, ...]) -> None:
    assert find_users(sites) == {"192.0.2.20:3306": {site.credentials().user for site in sites}}
