"""Blocks on a real server: references are followed, secrets are encrypted and never answered."""

import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect import flow
from prefect.events import emit_event
from pydantic import SecretStr

from blocks import (
    Cluster,
    DatabaseServer,
    NfsServer,
    Pack,
    Platform,
    Registered,
    Share,
    Site,
    SshCredentials,
    WebServer,
    site_block_name,
)
from tasks.errors import PlanRefused

KEY = "blk-private-key-7f3a"
ADMIN_PASSWORD = "blk-admin-password-9c1d"
DATABASE_PASSWORD = "blk-database-password-2e8b"
SECRETS = (KEY, ADMIN_PASSWORD, DATABASE_PASSWORD)
URI = "blk.example.org"


def save_server(name: str, address: str, **fields: Any) -> WebServer:
    credentials = SshCredentials.load("blk-key")
    values: dict[str, Any] = {"kind": "apache", "host_keys": ["ssh-ed25519 AAAA"], "credentials": credentials}
    server = WebServer(address=address, **{**values, **fields})
    server.save(name, overwrite=True)
    return server


@pytest.fixture(scope="module")
def fleet(prefect_server: str) -> str:
    """A site on a platform on a cluster of two servers, registered; gives the API's URL."""
    SshCredentials(private_key=SecretStr(KEY)).save("blk-key")
    save_server("blk-web1", "192.0.2.1")
    save_server("blk-web2", "192.0.2.2", kind="nginx", ssh_port=2222, http_port=8080)
    Cluster(servers=["blk-web1", "blk-web2"]).save("blk-cluster")
    Platform(target=Cluster.load("blk-cluster"), source="/srv/blog", docroot="/web/").save("blk-platform")
    database = DatabaseServer(host="192.0.2.20", admin_user="root", admin_password=SecretStr(ADMIN_PASSWORD))
    database.save("blk-db")
    Site(
        uri=URI,
        platform=Platform.load("blk-platform"),
        database=DatabaseServer.load("blk-db"),
        database_password=SecretStr(DATABASE_PASSWORD),
    ).save(site_block_name(URI))
    return prefect_server


def test_a_site_leads_to_its_nodes(fleet: str) -> None:
    site = Site.get(site_block_name(URI), "a test")
    target = site.platform.resolve()
    assert (site.platform.name, target.name) == ("blk-platform", "blk-cluster")
    assert target.node_names == ("blk-web1", "blk-web2")
    first, second = target.nodes
    assert (first.address, first.kind, first.port, first.http_port) == ("192.0.2.1", "apache", 22, 80)
    assert (second.address, second.kind, second.port, second.http_port) == ("192.0.2.2", "nginx", 2222, 8080)
    assert first.private_key.get_secret_value() == KEY
    assert site.database.database().admin_password.get_secret_value() == ADMIN_PASSWORD
    assert site.database_password.get_secret_value() == DATABASE_PASSWORD
    assert site.platform.docroot_path() == "/var/aegir/platforms/blk-platform/current/web"


def test_a_change_is_followed_by_what_refers_to_it(fleet: str) -> None:
    save_server("blk-web1", "192.0.2.99")
    try:
        site = Site.get(site_block_name(URI), "a test")
        assert site.platform.resolve().nodes[0].address == "192.0.2.99"
    finally:
        save_server("blk-web1", "192.0.2.1")


def test_a_platform_may_stand_on_a_single_server(fleet: str) -> None:
    Platform(target=WebServer.load("blk-web1"), source="/srv/blog").save("blk-single", overwrite=True)
    platform = Platform.get("blk-single", "a test")
    assert isinstance(platform.target, WebServer)
    assert platform.resolve().node_names == ("blk-web1",)
    assert platform.docroot_path() == "/var/aegir/platforms/blk-single/current"


def test_the_api_answers_without_secrets(fleet: str) -> None:
    answer = httpx.post(f"{fleet}/block_documents/filter", json={"limit": 200}, timeout=10)
    assert answer.status_code == 200
    assert "blk-web1" in answer.text
    assert not [secret for secret in SECRETS if secret in answer.text]
    for slug, name in [("packmaster-site", site_block_name(URI)), ("packmaster-platform", "blk-platform")]:
        one = httpx.get(f"{fleet}/block_types/slug/{slug}/block_documents/name/{name}", timeout=10)
        assert one.status_code == 200
        assert not [secret for secret in SECRETS if secret in one.text]


def test_secrets_are_encrypted_where_they_are_stored(fleet: str) -> None:
    with sqlite3.connect(Path(os.environ["PREFECT_HOME"]) / "prefect.db") as database:
        stored = database.execute("SELECT name, data FROM block_document").fetchall()
    assert "blk-web1" in {name for name, _ in stored}
    assert not [name for name, data in stored if any(secret in str(data) for secret in SECRETS)]


def test_run_parameters_hold_references_and_no_secrets(fleet: str) -> None:
    @flow(name="blk-flow")
    def look(site: Site, target: Cluster | WebServer) -> str:
        return f"{site.uri} on {target.name}"

    assert look(Site.load(site_block_name(URI)), WebServer.load("blk-web1")) == f"{URI} on blk-web1"
    wanted = {"flows": {"name": {"any_": ["blk-flow"]}}}
    runs = httpx.post(f"{fleet}/flow_runs/filter", json=wanted, timeout=10)
    assert len(runs.json()) == 1
    assert not [secret for secret in SECRETS if secret in runs.text]


def test_the_run_form_offers_both_kinds_of_target() -> None:
    schema = json.dumps(Platform.model_json_schema())
    assert "packmaster-cluster" in schema
    assert "packmaster-web-server" in schema


def test_a_cluster_names_the_server_that_is_not_there(fleet: str) -> None:
    Cluster(servers=["blk-web1", "blk-gone"]).save("blk-dangling")
    with pytest.raises(PlanRefused, match="cluster blk-dangling names the WebServer 'blk-gone'"):
        Cluster.get("blk-dangling", "a test").resolve()


def test_two_names_of_one_machine_are_refused(fleet: str) -> None:
    save_server("blk-web3", "192.0.2.1")
    Cluster(servers=["blk-web1", "blk-web3"]).save("blk-twice")
    with pytest.raises(PlanRefused, match=r"blk-web1 and blk-web3 are the same machine, 192\.0\.2\.1:22"):
        Cluster.get("blk-twice", "a test").resolve()


def test_two_sshds_of_one_machine_are_two_servers(fleet: str) -> None:
    save_server("blk-web4", "192.0.2.1", ssh_port=2200)
    Cluster(servers=["blk-web1", "blk-web4"]).save("blk-ports")
    assert Cluster.get("blk-ports", "a test").resolve().node_names == ("blk-web1", "blk-web4")


def test_what_is_not_registered_is_none_or_refused_by_name(fleet: str) -> None:
    assert Site.find("blk-none") is None
    with pytest.raises(PlanRefused, match="add-site names the Platform 'blk-none', which is not registered"):
        Platform.get("blk-none", "add-site")


def test_what_was_asked_for_is_read_at_once_and_what_is_not_there_is_left_out(fleet: str) -> None:
    found = WebServer.find_named(["blk-web2", "blk-none", "blk-web1"])
    assert {name: server.address for name, server in found.items()} == {
        "blk-web1": "192.0.2.1",
        "blk-web2": "192.0.2.2",
    }
    assert found["blk-web1"].credentials.private_key.get_secret_value() == KEY
    assert WebServer.find_named([]) == {}
    assert {"blk-web1", "blk-web2"} <= set(WebServer.find_all())


def test_blocks_of_several_types_are_read_at_once(fleet: str) -> None:
    registered = Registered(WebServer, Cluster, Platform)
    assert {"blk-web1", "blk-web2"} <= set(registered.of(WebServer))
    assert registered.of(Cluster)["blk-cluster"].servers == ["blk-web1", "blk-web2"]
    assert registered.of(Platform)["blk-platform"].target.name == "blk-cluster"
    assert registered.of(Site) == {}, "these were not asked for"
    assert registered.of(WebServer) == WebServer.find_all()


def test_nobody_is_told_that_a_block_was_read(fleet: str) -> None:
    WebServer.load("blk-web1")
    WebServer.find_all()
    marker = "packmaster.test.blocks-were-read"
    emit_event(event=marker, resource={"prefect.resource.id": "packmaster.test.blk"})
    ends = time.monotonic() + 30
    while not (told := events_of(fleet, marker)):
        assert time.monotonic() < ends
        time.sleep(0.2)
    assert (told, events_of(fleet, "prefect.block.packmaster-web-server.loaded")) == (1, 0)


def events_of(api: str, name: str) -> int:
    wanted = {"filter": {"event": {"name": [name]}}, "limit": 5}
    return int(httpx.post(f"{api}/events/filter", json=wanted, timeout=10).json()["total"])


def save_share(name: str, server: str, **fields: Any) -> Share:
    Share(server=NfsServer.load(server), **fields).save(name, overwrite=True)
    return Share.load(name)


@pytest.fixture(scope="module")
def pack(fleet: str) -> Pack:
    """A pack of three on a share of an NFS server that is none of them."""
    credentials = SshCredentials.load("blk-key")
    for name, address in [("blk-nfs", "192.0.2.61"), ("blk-nfs-on-web5", "192.0.2.5")]:
        server = NfsServer(address=address, host_keys=["ssh-ed25519 AAAA"], credentials=credentials)
        server.save(name, overwrite=True)
    save_server("blk-web5", "192.0.2.5")
    share = save_share("blk-share", "blk-nfs")
    pack = Pack(master=WebServer.load("blk-web1"), slaves=["blk-web2", "blk-web5"], share=share)
    pack.save("blk-pack")
    return Pack.load("blk-pack")


def test_a_pack_leads_to_its_master_slaves_and_share(pack: Pack) -> None:
    target = Pack.get("blk-pack", "a test").resolve()
    assert target.node_names == ("blk-web1", "blk-web2", "blk-web5")
    assert [node.name for node in target.writers] == ["blk-web1"]
    assert [node.name for node in target.followers] == ["blk-web2", "blk-web5"]
    assert target.share is not None
    assert target.share.address == target.share.server.address == "192.0.2.61"
    assert target.share.code_path == "/srv/packmaster/blk-share/platforms"
    assert [machine.name for machine in target.machines] == [*target.node_names, "blk-nfs"]


def test_a_share_is_mounted_from_its_servers_mount_address_also_after_a_failover(pack: Pack) -> None:
    fields = {"host_keys": ["ssh-ed25519 AAAA"], "credentials": SshCredentials.load("blk-key")}
    for name, octet in (("blk-stored", 62), ("blk-spare", 63)):
        server = NfsServer(address=f"192.0.2.{octet}", mount_address=f"198.51.100.{octet}", **fields)
        server.save(name, overwrite=True)
    save_share("blk-away", "blk-stored", standby=NfsServer.load("blk-spare"))
    assert Share.load("blk-away").resolve().address == "198.51.100.62"
    assert Share.load("blk-away").resolve().served_by("blk-spare").address == "198.51.100.63"
    Share.load("blk-away").exchange_servers()
    moved = Share.load("blk-away").resolve()
    assert (moved.address, moved.served_by("blk-stored").address) == ("198.51.100.63", "198.51.100.62")


@pytest.mark.parametrize(("share", "spare"), [("198.51.100.9", "198.51.100.65"), ("", "198.51.100.64")])
def test_an_address_that_two_servers_cannot_have_is_refused(pack: Pack, share: str, spare: str) -> None:
    fields = {"host_keys": ["ssh-ed25519 AAAA"], "credentials": SshCredentials.load("blk-key")}
    for octet, address in ((64, "198.51.100.64"), (65, spare)):
        server = NfsServer(address=f"192.0.2.{octet}", mount_address=address, **fields)
        server.save(f"blk-nfs-{octet}", overwrite=True)
    save_share("blk-one", "blk-nfs-64", standby=NfsServer.load("blk-nfs-65"), address=share)
    with pytest.raises(PlanRefused, match="each NFS server a mount address of its own"):
        Share.get("blk-one", "a test").resolve()


def test_a_master_among_the_slaves_is_refused(pack: Pack) -> None:
    twice = Pack(master=pack.master, slaves=["blk-web2", "blk-web1"], share=pack.share)
    twice.save("blk-pack-twice", overwrite=True)
    with pytest.raises(PlanRefused, match="its master blk-web1 is among its slaves"):
        Pack.get("blk-pack-twice", "a test").resolve()


def test_a_client_list_that_does_not_cover_the_pack_is_refused(pack: Pack) -> None:
    share = save_share("blk-narrow", "blk-nfs", clients=["192.0.2.1", "192.0.2.2"])
    Pack(master=pack.master, slaves=pack.slaves, share=share).save("blk-pack-narrow", overwrite=True)
    with pytest.raises(PlanRefused, match=r"do not cover blk-web5 \(192\.0\.2\.5\)"):
        Pack.get("blk-pack-narrow", "a test").resolve()


def test_a_slave_that_is_the_nfs_server_is_refused_but_a_master_is_not(pack: Pack) -> None:
    share = save_share("blk-own", "blk-nfs-on-web5")
    Pack(master=pack.master, slaves=pack.slaves, share=share).save("blk-pack-own", overwrite=True)
    with pytest.raises(PlanRefused, match="the slave blk-web5 is an NFS server of share blk-own"):
        Pack.get("blk-pack-own", "a test").resolve()
    master = WebServer.load("blk-web5")
    Pack(master=master, slaves=["blk-web1"], share=share).save("blk-pack-own", overwrite=True)
    assert Pack.get("blk-pack-own", "a test").resolve().share is not None


@pytest.mark.parametrize("role", ["server", "standby"])
def test_a_web_server_and_an_nfs_server_of_one_name_are_refused(pack: Pack, role: str) -> None:
    """Facts and plans go by name, so that the one would be taken for the other."""
    named = NfsServer(
        address="192.0.2.1", host_keys=["ssh-ed25519 AAAA"], credentials=SshCredentials.load("blk-key")
    )
    named.save("blk-web1", overwrite=True)
    servers = {"server": "blk-nfs", "standby": "blk-nfs-on-web5", role: "blk-web1"}
    share = save_share("blk-named", servers["server"], standby=NfsServer.load(servers["standby"]))
    Pack(master=pack.master, slaves=["blk-web2"], share=share).save("blk-pack-named", overwrite=True)
    with pytest.raises(PlanRefused, match="are both registered as blk-web1"):
        Pack.get("blk-pack-named", "a test").resolve()


def test_a_server_that_is_its_own_standby_is_refused(pack: Pack) -> None:
    share = save_share("blk-alone", "blk-nfs", standby=NfsServer.load("blk-nfs"))
    with pytest.raises(PlanRefused, match="cannot be its own standby"):
        share.resolve()


def test_of_a_type_that_nobody_registered_there_are_none(prefect_server: str) -> None:
    """So a failover does not end in an error on a server that has no site yet."""

    class Unheard(WebServer):
        _block_type_slug = "packmaster-unheard"

    assert Unheard.find_all() == {}
    assert Unheard.find("anything") is None
