"""The inventory file against a real server: all that it says is registered, or nothing of it."""

import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

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
from deployments.inventory import build_blocks, plan_changes, read_inventory, save_blocks
from flows.convergence import plan_convergence
from tasks.errors import PlanRefused

KEY = "inv-private-key-51d2"
PASSWORD = "inv-admin-password-8e0f"


def make_document(prefix: str, *sections: str) -> dict[str, Any]:
    """A fleet, or some sections of it, every name beginning with `prefix`: tests share only the server."""
    document = make_fleet(prefix)
    return {section: document[section] for section in sections or document}


def make_fleet(prefix: str) -> dict[str, Any]:
    server = {"kind": "apache", "credentials": f"{prefix}-key", "host_keys": ["ssh-ed25519 AAAA"]}
    return {
        "ssh_credentials": {f"{prefix}-key": {"private_key": {"file": "id"}}},
        "web_servers": {
            f"{prefix}-web1": server | {"address": "192.0.2.1"},
            f"{prefix}-web2": server | {"address": "192.0.2.2", "kind": "nginx"},
        },
        "database_servers": {
            f"{prefix}-db": {
                "host": "192.0.2.20",
                "admin_user": "packmaster",
                "admin_password": {"env": "INVENTORY_PASSWORD"},
            }
        },
        "clusters": {f"{prefix}-web": {"servers": [f"{prefix}-web1", f"{prefix}-web2"]}},
        "platforms": {f"{prefix}-blog": {"target": f"{prefix}-web", "source": "/srv/blog"}},
        "sites": {
            f"{prefix}.example.org": {
                "platform": f"{prefix}-blog",
                "database": f"{prefix}-db",
                "aliases": [f"www.{prefix}.example.org"],
            }
        },
    }


@pytest.fixture(autouse=True)
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "id").write_text(f"{KEY}\n")
    monkeypatch.setenv("INVENTORY_PASSWORD", PASSWORD)


def write(tmp_path: Path, document: Any) -> Path:
    path = tmp_path / "inventory.yaml"
    with path.open("w") as stream:
        YAML(typ="safe").dump(document, stream)
    return path


def apply(path: Path) -> dict[str, str]:
    """What the command does, without its output: by name, what was done."""
    entries = read_inventory(path)
    blocks = build_blocks(entries)
    changes = plan_changes(blocks)
    changed = {(change.section, change.name) for change in changes if change.action != "unchanged"}
    save_blocks({e: block for e, block in blocks.items() if (e.section, e.name) in changed})
    return {change.name: change.action for change in changes}


def show(path: Path) -> str:
    return "\n".join(str(change) for change in plan_changes(build_blocks(read_inventory(path))))


def read_raw(server: str, block_type: str, name: str) -> dict[str, Any]:
    path = f"{server}/block_types/slug/{block_type}/block_documents/name/{name}"
    document: dict[str, Any] = httpx.get(path, timeout=10).raise_for_status().json()
    return document


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


def make_pack(prefix: str, **share: Any) -> dict[str, Any]:
    """Two NFS servers, a share of the first, and a pack of the fleet's two servers."""
    server = {"credentials": f"{prefix}-key", "host_keys": ["ssh-ed25519 AAAA"]}
    return make_document(prefix, "ssh_credentials", "web_servers") | {
        "nfs_servers": {
            f"{prefix}-nfs1": server | {"address": "192.0.2.61"},
            f"{prefix}-nfs2": server | {"address": "192.0.2.62"},
        },
        "shares": {f"{prefix}-files": {"server": f"{prefix}-nfs1", **share}},
        "packs": {
            f"{prefix}-pack": {
                "master": f"{prefix}-web1",
                "slaves": [f"{prefix}-web2"],
                "share": f"{prefix}-files",
            }
        },
    }


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


def change(document: dict[str, Any], where: str, value: object) -> None:
    """Set what the dotted path leads to; `...` for the value deletes it."""
    *path, last = where.split("/")
    for part in path:
        document = document[part]
    if value is ...:
        del document[last]
    else:
        document[last] = value


BAD = {
    "a key in the file": ("ssh_credentials/bad-key/private_key", KEY, "secret and must not stand in"),
    "a password in the file": ("database_servers/bad-db/admin_password", PASSWORD, "secret and must not"),
    "a secret of two sources": (
        "ssh_credentials/bad-key/private_key",
        {"file": "id", "env": "X"},
        "secret and must not stand in",
    ),
    "a secret's file is missing": ("ssh_credentials/bad-key/private_key", {"file": "gone"}, "No such file"),
    "a secret's variable is not set": (
        "database_servers/bad-db/admin_password",
        {"env": "NOT_SET_ANYWHERE"},
        "variable NOT_SET_ANYWHERE is not set",
    ),
    "a section nobody knows": ("servers", {}, "unknown section 'servers'"),
    "a section that is a list": ("clusters", ["bad-web"], "clusters is not a mapping"),
    "an entry that is a word": ("clusters/bad-web", "web1", "clusters/bad-web is not a mapping"),
    "an entry that is empty": ("clusters/bad-web", None, "clusters/bad-web is not a mapping"),
    "a field nobody knows": ("web_servers/bad-web1/adress", "192.0.2.1", "unknown field 'adress'"),
    "a field that is missing": ("web_servers/bad-web1/address", ..., "web_servers/bad-web1: address"),
    "a login nobody knows": ("web_servers/bad-web1/credentials", "gone", "names 'gone', neither in the file"),
    "a login written inline": ("web_servers/bad-web1/credentials", {"private_key": "x"}, "not the name"),
    "a login that is a list": ("web_servers/bad-web1/credentials", ["bad-key"], "not the name"),
    "a server nobody knows": ("clusters/bad-web/servers", ["bad-web1", "gone"], "names 'gone'"),
    "a server named twice": (
        "clusters/bad-web/servers",
        ["bad-web1", "bad-web1"],
        "'bad-web1' is listed twice",
    ),
    "servers that are a word": ("clusters/bad-web/servers", "bad-web1", "servers"),
    "servers that are a number": ("clusters/bad-web/servers", 7, "servers"),
    "a server that is a mapping": ("clusters/bad-web/servers", [{"name": "bad-web1"}], "not the name"),
    "no servers": ("clusters/bad-web/servers", [], "servers"),
    "a target nobody knows": (
        "platforms/bad-blog/target",
        "gone",
        "Add it under clusters or packs or web_servers",
    ),
    "a kind nobody knows": ("web_servers/bad-web1/kind", "iis", "web_servers/bad-web1: kind"),
    "a port that is none": ("web_servers/bad-web1/ssh_port", 99999, "web_servers/bad-web1: ssh_port"),
    "a profile nobody knows": ("platforms/bad-blog/profile", "joomla", "platforms/bad-blog: profile"),
    "a password in a source": (
        "platforms/bad-blog/source",
        f"https://me:{PASSWORD}@git.example.org/blog.git",
        "platforms/bad-blog: source has a password in it",
    ),
    "an alias that is none": ("sites/bad.example.org/aliases", ["a b"], "the alias 'a b' is not a host name"),
    "another name in the entry": ("sites/bad.example.org/uri", "other.example.org", "other.example.org"),
    "a name that is none": ("web_servers/Bad Web", {}, "the name of web_servers 'Bad Web'"),
    "a site name that is none": (
        "sites/WWW.example.org",
        {"platform": "bad-blog", "database": "bad-db"},
        "upper-case letters",
    ),
}


@pytest.mark.parametrize(("where", "value", "message"), BAD.values(), ids=BAD.keys())
def test_a_mistake_is_named_and_nothing_at_all_is_saved(
    tmp_path: Path, prefect_server: str, where: str, value: object, message: str
) -> None:
    document = make_document("bad")
    change(document, where, value)
    with pytest.raises(PlanRefused) as refused:
        apply(write(tmp_path, document))
    assert message in str(refused.value)
    assert KEY not in str(refused.value)
    assert PASSWORD not in str(refused.value)
    assert SshCredentials.find("bad-key") is None
    assert WebServer.find("bad-web1") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("web_servers: [", "cannot be read"),
        ("- a list", "is not a mapping"),
        ("", "is not a mapping"),
        ("web_servers: {a: {}}\nweb_servers: {b: {}}\n", "cannot be read"),
        ("clusters: {}\n\x00", "cannot be read"),
        ("clusters: !!python/object/apply:os.system ['true']", "cannot be read"),
    ],
    ids=["broken", "list", "empty", "section twice", "null byte", "object"],
)
def test_a_file_that_is_no_inventory_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text(text)
    with pytest.raises(PlanRefused, match=message):
        read_inventory(path)


@pytest.mark.parametrize("content", [None, b"caf\xe9: {}"], ids=["missing", "not UTF-8"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "inventory.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PlanRefused, match="cannot be read"):
        read_inventory(path)


def test_an_inventory_of_nothing_is_fine(tmp_path: Path) -> None:
    assert read_inventory(write(tmp_path, {"clusters": None, "sites": {}})) == ()


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
