"""Vhosts on real apache and nginx: what they serve, under which names, and what they refuse."""

from dataclasses import replace

import pytest

from tasks.sites.plan import Site
from tasks.sites.profiles import load_profile
from tasks.sites.vhost import vhost_for
from tasks.web.plan import find_name_conflicts
from tests.nodes.vhosts import (
    CODE,
    DATA_FILES,
    LIVE,
    SITE,
    VHOST,
    WEIRD,
    Server,
    environment,
    prepared,
    server,
)

__all__ = ["prepared", "server"]


def test_environment_reaches_php(server: Server) -> None:
    found = environment(server, "/")
    assert {name: found[name] for name, _ in VHOST.environment} == {
        "DB_PASSWORD": "abc123",
        "WEIRD": WEIRD,
        "EMPTY": "",
        "DOLLAR": "$",
    }
    assert found["HTTP_HOST"] == found["SERVER_NAME"] == SITE
    assert "HTTP_PROXY" not in found or not found["HTTP_PROXY"]
    secrets = server.docker('stat -c "%a %U" "$1"/*.conf', LIVE).split("\n")
    assert set(filter(None, secrets)) == {"600 aegir"}


def test_front_controller_and_path_info(server: Server) -> None:
    pretty = environment(server, "/2026/a-post/?page=2")
    assert pretty["SCRIPT_NAME"] == "/index.php"
    assert pretty["REQUEST_URI"] == "/2026/a-post/?page=2"
    assert pretty["QUERY_STRING"] == "page=2"
    assert pretty["file"] == f"{CODE}/releases/1/index.php"
    info = environment(server, "/index.php/update/1.x")
    assert (info["SCRIPT_NAME"], info["PATH_INFO"]) == ("/index.php", "/update/1.x")
    # A file of the data that is not there (yet) may be made by the application.
    assert environment(server, "/files/styles/thumb.jpg")["SCRIPT_NAME"] == "/index.php"
    assert server.get("/page.php").body.startswith(b"RAN")
    assert server.get("/sub/").body.startswith(b"RAN")
    assert server.get("/s.txt").body == b"static\n"
    assert server.get("/nope.php").status == 404


def test_names(server: Server) -> None:
    assert environment(server, "/", "www.web.example.org")["SERVER_NAME"] == "www.web.example.org"
    moved = server.get("/a/b?c=d", "old.web.example.org")
    assert (moved.status, moved.header("Location")) == (301, f"http://{SITE}/a/b?c=d")
    unknown = server.get("/", "nobody.example.org")
    assert (unknown.status, unknown.body.strip()) == (404, f"packmaster {server.facts().live}".encode())


@pytest.mark.parametrize("name", DATA_FILES)
def test_php_in_data_is_neither_run_nor_given_away(server: Server, name: str) -> None:
    for path in (
        f"/files/{name}",
        f"//files//{name}",
        f"/x/../files/./{name}",
        f"/files/{name}/",
        f"/files/{name}/y.php",
    ):
        answer = server.get(path)
        assert not answer.body.startswith(b"RAN"), path
        if name.endswith(".jpg") and answer.status == 200:
            assert answer.header("Content-Type") in {"image/jpeg", "application/json"}, path
        else:
            assert b"<?php" not in answer.body, path
            assert answer.status in {403, 404}, path


def test_tricks_with_paths(server: Server) -> None:
    for path in (
        "/files/x.jpg/.php",
        "/files/x.jpg/x.php",
        "/files/x.jpg%00.php",
        "/files/x.jpg%0a.php",
        "/files%2fx.php",
        "/files/%78.php",
        "/files/x%2ephp",
        "/s.txt/.php",
        "/s.txt/x.php",
        "/lib/x.php",
        "/lib//x.php",
        "/LIB/../lib/x.php",
        "/lib/x.php/y",
        "/sites/all/x.php",
        "/sites/other.org/x.php",
        "//sites//other.org/x.php",
        "/secret/x.php",
    ):
        answer = server.get(path)
        assert b"RAN" not in answer.body, path
        assert b"<?php" not in answer.body, path
        assert answer.status in {400, 403, 404}, path
    assert server.get("/lib/s.css").body == server.get("/sites/all/s.css").body == b"static\n"


def test_a_drupal_site_cannot_reach_into_another(server: Server) -> None:
    """Every site of the platform is linked below `sites`; each vhost may lead to its own files only."""
    server.ssh.run_script(
        """
        release=$1/releases/1; shift
        for site; do
            data=/var/aegir/sites/$site
            mkdir -p "$data/files" "$data/private" "$release/sites"
            chgrp www-data "$data"; chmod 2750 "$data"; ln -sfn "$data" "$release/sites/$site"
            echo '<?php echo "RAN";' >"$data/files/x.php"; echo text >"$data/files/a.txt"
            echo secret >"$data/private/s.txt"
        done
        """,
        CODE,
        "two.example.org",
        "three.example.org",
    )
    site = Site(uri="two.example.org", platform="webtest")
    server.install(vhost_for(site, load_profile("drupal"), None))
    assert server.get("/sites/two.example.org/files/a.txt", site.uri).body == b"text\n"
    assert server.get("/sites/all/s.css", site.uri).body == b"static\n"
    for path in (
        "/sites/two.example.org/files/x.php",
        "/sites/two.example.org/private/s.txt",
        "/sites/three.example.org/files/x.php",
        "/sites/three.example.org/files/a.txt",
        "/sites/three.example.org/private/s.txt",
        "//sites/./three.example.org//private/s.txt",
        "/sites/all/../three.example.org/private/s.txt",
    ):
        assert server.get(path, site.uri).status in {403, 404}, path


def test_hidden_and_source_files_are_refused(server: Server) -> None:
    for path in (
        *("/.git/config", "/.git/x.php", "/.git/", "/.git/none", "/.env", "/sub/.well-known/acme"),
        *(
            "/files/.hidden",
            "/x.inc",
            "/x.yml",
            "/x.phtml",
            "/x.php5",
            "/x.PHP",
            "/composer.json",
            "/lib/x.phtml",
        ),
    ):
        answer = server.get(path)
        assert answer.status in {403, 404}, path
        assert b"<?php" not in answer.body, path
    assert server.get("/.well-known/acme").status == 200


def test_data_is_served_as_files_only(server: Server) -> None:
    answer = server.get("/files/a.txt")
    assert (answer.status, answer.body) == (200, b"data\n")
    assert answer.header("X-Content-Type-Options") == "nosniff"
    hostname = server.docker("cat /etc/hostname").encode()
    assert hostname not in server.get("/files/link.txt").body
    assert "PHP" not in server.get("/").header("X-Powered-By")


def test_disabled(server: Server) -> None:
    off = replace(VHOST, enabled=False)
    assert server.install(off).changed
    for name in off.names:
        answer = server.get("/files/a.txt", name)
        assert (answer.status, answer.header("Retry-After")) == (503, "3600")
        assert b"switched off" in answer.body
    assert server.install(VHOST).changed
    assert server.get("/").status == 200


def test_another_site_is_added_and_removed(server: Server) -> None:
    two = replace(VHOST, site="two.example.org", aliases=(), redirects=(), environment=(("WHO", "two"),))
    assert [str(c) for c in find_name_conflicts(server.facts(), replace(two, aliases=(SITE,)))] == [
        f"{SITE} already belongs to {SITE} on {server.node.name}"
    ]
    server.install(two)
    assert environment(server, "/", "two.example.org")["WHO"] == "two"
    assert "WHO" not in environment(server, "/")
    assert set(server.facts().sites_of("webtest")) == {SITE, "two.example.org"}
    server.install(gone=("two.example.org",))
    assert server.get("/", "two.example.org").is_catch_all
    assert server.get("/").status == 200


def test_many_and_long_names(server: Server) -> None:
    long = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 57, "org"])
    many = replace(VHOST, aliases=(long, *(f"alias-number-{n}.of.web.example.org" for n in range(300))))
    server.install(many)
    assert environment(server, "/", long)["HTTP_HOST"] == long
    assert environment(server, "/", "alias-number-299.of.web.example.org")
    assert server.facts().files[f"{SITE}.conf"].names == many.names
