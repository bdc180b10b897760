"""The inventory file against a real server: all that it says is registered, or nothing of it."""

import os
from pathlib import Path

import httpx
import pytest

from blocks import (
    Cluster,
    DatabaseServer,
    Pack,
    Platform,
    Share,
    Site,
    SshCredentials,
    WebServer,
    site_block_name,
)
from deployments.inventory import build_blocks, plan_changes, read_inventory
from flows.convergence import plan_convergence
from tasks.errors import PlanRefused
from tests.deployments.inventories import (
    KEY,
    PASSWORD,
    apply,
    make_document,
    make_pack,
    read_raw,
    secrets,
    show,
    write,
)

__all__ = ["secrets"]


def test_everything_is_registered_and_a_second_run_changes_nothing(
    tmp_path: Path, prefect_server: str
) -> None:
    path = write(tmp_path, make_document("inva"))
    assert set(apply(path).values()) == {"create"}
    site = Site.get(site_block_name("inva.example.org"), "a test")
    assert site.uri == "inva.example.org"
    assert site.aliases == ["www.inva.example.org"]
    assert site.platform.resolve().node_names == ("inva-web1", "inva-web2")
    assert SshCredentials.get("inva-key", "a test").private_key.get_secret_value() == KEY
    assert site.database.admin_password.get_secret_value() == PASSWORD
    assert set(apply(path).values()) == {"unchanged"}


def test_a_site_that_only_the_file_made_is_not_served_before_add_site_ran(
    tmp_path: Path, prefect_server: str
) -> None:
    """Its accounts would have no password; no node is asked, for these do not answer."""
    apply(write(tmp_path, make_document("invh")))
    site = Site.get(site_block_name("invh.example.org"), "a test")
    with pytest.raises(PlanRefused, match=r"invh\.example\.org: registered without a.*Run add-site first"):
        plan_convergence(site.platform.resolve(), [site])


def test_references_are_references_after_every_kind_of_update(tmp_path: Path, prefect_server: str) -> None:
    """A block that is saved beside one that is not must not take it in, secrets and all."""
    document = make_document("invb")
    apply(write(tmp_path, document))
    for server in document["web_servers"].values():
        server["http_port"] = 8080
    document["platforms"]["invb-blog"]["docroot"] = "web"
    document["sites"]["invb.example.org"]["title"] = "The blog"
    done = apply(write(tmp_path, document))
    assert {name for name, action in done.items() if action == "update"} == {
        "invb-web1", "invb-web2", "invb-blog", "invb.example.org",
    }  # fmt: skip
    for block_type, name, field in [
        ("packmaster-web-server", "invb-web1", "credentials"),
        ("packmaster-platform", "invb-blog", "target"),
        ("packmaster-site", site_block_name("invb.example.org"), "platform"),
        ("packmaster-site", site_block_name("invb.example.org"), "database"),
    ]:
        raw = read_raw(prefect_server, block_type, name)
        assert field in raw["block_document_references"], f"{block_type}/{name}.{field} was stored inline"
    answer = httpx.post(f"{prefect_server}/block_documents/filter", json={"limit": 200}, timeout=10)
    assert KEY not in answer.text
    assert PASSWORD not in answer.text
    # And they are followed.
    (tmp_path / "id").write_text("inv-another-key")
    assert apply(write(tmp_path, document))["invb-key"] == "update"
    server = WebServer.get("invb-web1", "a test")
    assert server.credentials.private_key.get_secret_value() == "inv-another-key"


def test_an_update_shows_what_changes_and_keeps_what_the_file_leaves_out(
    tmp_path: Path, prefect_server: str
) -> None:
    document = make_document("invc", "ssh_credentials", "web_servers")
    apply(write(tmp_path, document))
    document["web_servers"]["invc-web1"] |= {"address": "192.0.2.9", "ssh_port": 2222}
    shown = show(write(tmp_path, document))
    assert "update    web_servers/invc-web1" in shown
    assert "address: '192.0.2.1' -> '192.0.2.9'" in shown
    assert "ssh_port: 22 -> 2222" in shown
    assert "unchanged web_servers/invc-web2" in shown
    apply(write(tmp_path, document))
    del document["web_servers"]["invc-web1"]["ssh_port"]
    assert set(apply(write(tmp_path, document)).values()) == {"unchanged"}
    assert WebServer.get("invc-web1", "a test").ssh_port == 2222


def test_a_secret_that_changes_is_named_and_not_shown(
    tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, make_document("invd", "database_servers"))
    apply(path)
    monkeypatch.setenv("INVENTORY_PASSWORD", "inv-new-password")
    shown = show(path)
    assert "admin_password: changed (secret)" in shown
    assert "inv-new-password" not in shown
    assert PASSWORD not in shown
    assert apply(path)["invd-db"] == "update"
    database = DatabaseServer.get("invd-db", "a test")
    assert database.admin_password.get_secret_value() == "inv-new-password"


@pytest.mark.parametrize(("field", "written"), [("ssh_port", "22"), ("http_port", 80.0)])
def test_the_same_value_written_otherwise_is_no_change(
    tmp_path: Path, prefect_server: str, field: str, written: object
) -> None:
    document = make_document("inve", "ssh_credentials", "web_servers")
    document["web_servers"]["inve-web1"][field] = written
    apply(write(tmp_path, document))
    assert set(apply(write(tmp_path, document)).values()) == {"unchanged"}


def test_what_is_registered_already_need_not_stand_in_the_file(tmp_path: Path, prefect_server: str) -> None:
    document = make_document("invf", "ssh_credentials", "web_servers", "clusters")
    apply(write(tmp_path, document))
    more = {"platforms": {"invf-shop": {"target": "invf-web", "source": "/srv/shop"}}}
    assert apply(write(tmp_path, more)) == {"invf-shop": "create"}
    assert Platform.get("invf-shop", "a test").resolve().node_names == ("invf-web1", "invf-web2")


def test_a_single_server_may_be_the_target(tmp_path: Path, prefect_server: str) -> None:
    document = make_document("invg", "ssh_credentials", "web_servers", "clusters", "platforms")
    document["platforms"]["invg-blog"]["target"] = "invg-web1"
    apply(write(tmp_path, document))
    assert Platform.get("invg-blog", "a test").resolve().node_names == ("invg-web1",)
    document["platforms"]["invg-blog"]["target"] = "invg-web"
    assert apply(write(tmp_path, document))["invg-blog"] == "update"
    assert isinstance(Platform.get("invg-blog", "a test").target, Cluster)


def test_a_pack_with_a_standby_is_registered(tmp_path: Path, prefect_server: str) -> None:
    path = write(tmp_path, make_pack("invj", standby="invj-nfs2"))
    assert set(apply(path).values()) == {"create"}
    target = Pack.get("invj-pack", "a test").resolve()
    assert target.share is not None
    assert target.share.standby is not None
    assert [machine.name for machine in target.machines] == [
        "invj-web1", "invj-web2", "invj-nfs1", "invj-nfs2",
    ]  # fmt: skip
    assert set(apply(path).values()) == {"unchanged"}


def test_a_share_that_others_move_names_its_partner(tmp_path: Path, prefect_server: str) -> None:
    external = {"mode": "external", "address": "192.0.2.60"}
    alone = make_pack("invi", **external)
    apply(write(tmp_path, alone))
    path = write(tmp_path, make_pack("invi", **external, partner="invi-nfs2"))
    assert {name for name, action in apply(path).items() if action == "update"} == {"invi-files"}
    partner = Share.get("invi-files", "a test").resolve().partner
    assert partner is not None
    assert (partner.name, partner.address) == ("invi-nfs2", "192.0.2.62")
    raw = read_raw(prefect_server, "packmaster-share", "invi-files")
    assert "partner" in raw["block_document_references"], "it was stored inline"
    assert set(apply(path).values()) == {"unchanged"}
    unknown = write(tmp_path, make_pack("invi", **external, partner="gone"))
    with pytest.raises(PlanRefused, match="names 'gone', neither in the file nor registered"):
        read_inventory(unknown)


def test_the_example_is_understood(
    tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lacks host keys only, which a person has to compare first; that is what the refusal says."""
    example = Path(__file__).resolve().parents[2] / "deployments" / "inventory.example.yaml"
    monkeypatch.setenv("DB1_ADMIN_PASSWORD", PASSWORD)
    (tmp_path / "id_ed25519").write_text(KEY)
    path = tmp_path / "inventory.yaml"
    path.write_text(example.read_text())
    with pytest.raises(PlanRefused, match="web_servers/web1: host_keys"):
        build_blocks(read_inventory(path))
    path.write_text(example.read_text().replace("host_keys: []", "host_keys: [ssh-ed25519 AAAA]"))
    assert {change.action for change in plan_changes(build_blocks(read_inventory(path)))} == {"create"}
    assert os.environ["DB1_ADMIN_PASSWORD"] not in show(path)
