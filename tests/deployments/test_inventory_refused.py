"""What is wrong with an inventory file is named, and nothing of it is registered."""

from pathlib import Path
from typing import Any

import pytest

from blocks import (
    SshCredentials,
    WebServer,
)
from deployments.inventory import read_inventory
from tasks.errors import PlanRefused
from tests.deployments.inventories import KEY, PASSWORD, apply, make_document, secrets, write

__all__ = ["secrets"]


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
