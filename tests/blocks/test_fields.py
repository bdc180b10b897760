"""What a form refuses, it refuses with the words a flow would use."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from blocks import (
    Cluster,
    DatabaseServer,
    NfsServer,
    Pack,
    Platform,
    Share,
    Site,
    SshCredentials,
    WebServer,
    site_block_name,
)
from tasks.errors import PlanRefused
from tasks.names import check_host_name

CREDENTIALS = SshCredentials(private_key=SecretStr("key"))
SERVER: dict[str, Any] = {
    "address": "192.0.2.1",
    "kind": "apache",
    "credentials": CREDENTIALS,
    "host_keys": ["ssh-ed25519 AAAA"],
}
DATABASE = DatabaseServer(host="192.0.2.20", admin_user="root", admin_password=SecretStr("password"))
PLATFORM = Platform(target=WebServer(**SERVER), source="/srv/blog")

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
HOST_NAMES = (
    st.lists(LABEL, min_size=1, max_size=4).filter(lambda labels: not labels[-1].isdigit()).map(".".join)
)


@pytest.mark.parametrize(
    "address", ["", "-oProxyCommand=x", "a b", "web1;reboot", "$(x)", "web1\n", "[::1]", "a/b"]
)
def test_an_address_is_one_that_ssh_takes_for_an_address(address: str) -> None:
    with pytest.raises(ValidationError, match="address"):
        WebServer(**{**SERVER, "address": address})
    with pytest.raises(ValidationError, match="host"):
        DatabaseServer(host=address, admin_user="root", admin_password=SecretStr("x"))


@pytest.mark.parametrize("address", ["192.0.2.1", "web1.example.org", "2001:db8::1", "::1", "web-1"])
def test_usual_addresses_are_taken(address: str) -> None:
    assert WebServer(**{**SERVER, "address": address}).address == address


@pytest.mark.parametrize(
    "change",
    [{"kind": "iis"}, {"host_keys": []}, {"ssh_port": 0}, {"ssh_port": 65536}, {"http_port": 0}],
    ids=str,
)
def test_a_web_server_needs_sensible_fields(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(change))):
        WebServer(**{**SERVER, **change})


@pytest.mark.parametrize("username", ["", "Root", "a b", "-o", "x;y", "a" * 33, "aegir\n"])
def test_the_admin_login_is_a_unix_user_name(username: str) -> None:
    with pytest.raises(ValidationError, match="admin_username"):
        SshCredentials(private_key=SecretStr("key"), admin_username=username)


def test_a_cluster_refuses_a_server_named_twice() -> None:
    with pytest.raises(ValidationError, match="'web1' is listed twice"):
        Cluster(servers=["web1", "web2", "web1"])


def test_a_cluster_refuses_to_be_empty() -> None:
    with pytest.raises(ValidationError, match="servers"):
        Cluster(servers=[])


@pytest.mark.parametrize("docroot", ["..", "web/../..", "a b", "web\n"])
def test_a_platform_refuses_a_docroot_outside_its_source(docroot: str) -> None:
    with pytest.raises(ValidationError, match="document root"):
        Platform(target=WebServer(**SERVER), source="/srv/blog", docroot=docroot)


def test_the_form_of_a_platform_refuses_a_password() -> None:
    """Not so the block itself: one that was registered before has to load, to be put right."""
    pattern = Platform.model_json_schema()["properties"]["source"]["pattern"]
    assert not re.search(pattern, "https://me:s3cret@git.example.org/blog.git")
    assert re.search(pattern, "https://me@git.example.org/blog.git")
    assert Platform(target=WebServer(**SERVER), source="https://me:s3cret@git.example.org/blog.git")


@pytest.mark.parametrize("keep", [0, 1, 51])
def test_a_platform_keeps_something_to_go_back_to(keep: int) -> None:
    with pytest.raises(ValidationError, match="keep_releases"):
        Platform(target=WebServer(**SERVER), source="/srv/blog", keep_releases=keep)


@pytest.mark.parametrize(
    "uri", ["WWW.example.org", "a b.org", "münchen.example.org", "$(x).org", "a.org\n", ""]
)
def test_a_site_refuses_a_name_that_is_none(uri: str) -> None:
    with pytest.raises(ValidationError, match="site name"):
        Site(uri=uri, platform=PLATFORM, database=DATABASE)


@pytest.mark.parametrize("field", ["aliases", "redirects"])
@pytest.mark.parametrize(
    "names", [["a b"], ["www.example.org", "www.example.org"], ["A.example.org"], ["*.a.org"]]
)
def test_a_site_refuses_other_names_that_are_none(field: str, names: list[str]) -> None:
    with pytest.raises(ValidationError, match="the alias"):
        Site(uri="example.org", platform=PLATFORM, database=DATABASE, **{field: names})


@pytest.mark.parametrize(
    "others",
    [
        {"aliases": ["example.org"]},
        {"redirects": ["example.org"]},
        {"aliases": ["www.example.org"], "redirects": ["www.example.org"]},
    ],
    ids=str,
)
def test_a_site_has_each_of_its_names_once(others: dict[str, Any]) -> None:
    """Of two vhosts of one name on one node, the first would win, with no more than a warning."""
    with pytest.raises(ValidationError, match=r"example\.org"):
        Site(uri="example.org", platform=PLATFORM, database=DATABASE, **others)


def test_a_block_that_was_never_saved_has_no_name() -> None:
    with pytest.raises(PlanRefused, match="packmaster-web-server was given that is not registered"):
        WebServer(**SERVER).node()


def read_block_name(name: str) -> str:
    """The host name that a site's block stands for."""
    return re.sub(r"--|-", lambda dash: "-" if dash[0] == "--" else ".", name)


@given(HOST_NAMES)
def test_a_sites_block_name_can_be_read_back(uri: str) -> None:
    check_host_name(uri)
    name = site_block_name(uri)
    assert re.fullmatch(r"[a-z0-9-]+", name)
    assert read_block_name(name) == uri


@given(HOST_NAMES, HOST_NAMES)
def test_two_sites_never_share_a_block_name(one: str, other: str) -> None:
    assert (site_block_name(one) == site_block_name(other)) == (one == other)


def test_names_that_look_alike_are_kept_apart() -> None:
    names = ["a-b.org", "a.b.org", "a--b.org", "a.b-org", "a-b-org.x", "a.b.org.x"]
    assert len({site_block_name(name) for name in names}) == len(names)


NFS = NfsServer(address="192.0.2.9", credentials=CREDENTIALS, host_keys=["ssh-ed25519 AAAA"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"clients": ["*"]}, "neither an address nor a subnet"),
        ({"clients": ["web1.example.org"]}, "neither an address nor a subnet"),
        ({"clients": ["192.0.2.0/24(rw)"]}, "neither an address nor a subnet"),
        ({"clients": ["0.0.0.0/0"]}, "open to almost everybody"),
        ({"clients": ["::/0"]}, "open to almost everybody"),
        ({"clients": ["192.0.2.1/24"]}, "has host bits set"),
        ({"code_path": "/srv/a", "data_path": "/srv/a/b"}, "inside each other"),
        ({"code_path": "/srv/a", "data_path": "/srv/a"}, "inside each other"),
        ({"code_path": "/srv/../etc"}, "code_path"),
        ({"disk": "srv"}, "disk"),
        ({"code_options": "ro /etc"}, "code_options"),
        ({"mode": "external"}, "needs the address"),
        ({"mode": "external", "address": "192.0.2.8", "standby": NFS}, "no standby"),
    ],
    ids=str,
)
def test_a_share_that_contradicts_itself_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        Share(server=NFS, **fields)


@pytest.mark.parametrize("clients", [[], ["192.0.2.0/24"], ["192.0.2.11", "2001:db8::/64"]], ids=str)
def test_usual_clients_are_taken(clients: list[str]) -> None:
    assert Share(server=NFS, clients=clients).clients == clients


def test_a_pack_needs_slaves_each_named_once() -> None:
    master, share = WebServer(**SERVER), Share(server=NFS)
    with pytest.raises(ValidationError, match="slaves"):
        Pack(master=master, slaves=[], share=share)
    with pytest.raises(ValidationError, match="listed twice"):
        Pack(master=master, slaves=["web2", "web2"], share=share)
