"""Vhosts on real apache and nginx: what they serve, what they refuse, and what a broken one does."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from pydantic import SecretStr

from tasks.errors import CommandFailed, PackmasterError, PlanRefused
from tasks.fleet import Node, ServerKind
from tasks.outcome import Outcome
from tasks.servers import prepare
from tasks.sites.plan import Site
from tasks.sites.profiles import load_profile
from tasks.sites.vhost import vhost_for
from tasks.ssh import Ssh, connect
from tasks.web import apply, check, install
from tasks.web.check import Answer, SiteCheck, fetch, read_loaded_generation
from tasks.web.facts import read_web_facts
from tasks.web.plan import WebPlan, find_name_conflicts, plan_web
from tasks.web.state import ServerConfig
from tasks.web.vhost import DataMount, Vhost

KINDS: dict[str, ServerKind] = {"web1": "apache", "web3": "nginx"}
SITE = "web.example.org"
SITES = (SITE, "two.example.org")
CODE = "/var/aegir/platforms/webtest"
DATA = f"/var/aegir/sites/{SITE}/files"
LIVE = "/var/aegir/config/live"
WEIRD = "a\"b'c\\d$e${PATH}f #g {h};i %{x} $1 $${PATH} \\${PATH} `j` äö€ end\\"
VHOST = Vhost(
    site=SITE,
    platform="webtest",
    docroot=f"{CODE}/current",
    aliases=("www.web.example.org",),
    redirects=("old.web.example.org",),
    data=(DataMount("/files/", DATA),),
    environment=(
        ("DB_PASSWORD", SecretStr("abc123")),
        ("WEIRD", SecretStr(WEIRD)),
        ("EMPTY", ""),
        ("DOLLAR", "$"),
    ),
    denied=("/sites/", "/secret/"),
    php_denied=("/sites/all/", "/lib/"),
)
FRONT = '<?php header("Content-Type: application/json"); echo json_encode(["file" => __FILE__] + $_SERVER);'
SPY = '<?php echo "RAN ", __FILE__;'
CODE_FILES = (
    *(
        "lib/x.php",
        "lib/x.phtml",
        "x.phtml",
        "x.PHP",
        "x.php5",
        "x.inc",
        "x.yml",
        "page.php",
        "sub/index.php",
    ),
    *("secret/x.php", "sites/all/x.php", "sites/other.org/x.php", ".git/config", ".git/x.php"),
    *(".well-known/acme", "composer.json"),
)
DATA_FILES = (
    *("x.php", "x.PHP", "x.phtml", "x.phar", "x.php5", "x.pht"),
    *("x.jpg", "x.php.jpg", ".hidden", "sub/x.php"),
)
_TREE = r"""
code=$1 data=$2 front=$3 spy=$4 code_files=$5 data_files=$6
release=$code/releases/1
mkdir -p "$release/empty"
printf %s "$front" >"$release/index.php"
for file in $code_files; do
    mkdir -p "$(dirname "$release/$file")"
    printf %s "$spy" >"$release/$file"
done
echo static | tee "$release/s.txt" "$release/lib/s.css" >"$release/sites/all/s.css"
ln -sfn releases/1 "$code/current"
mkdir -p "$data/sub"
chgrp www-data "${data%/files}"; chmod 2750 "${data%/files}"
for file in $data_files; do printf %s "$spy" >"$data/$file"; done
echo data >"$data/a.txt"
ln -sfn /etc/hostname "$data/link.txt"
"""


@dataclass(frozen=True)
class Server:
    """A prepared node, and what the tests do to it."""

    node: Node
    container: str

    @property
    def ssh(self) -> Ssh:
        return connect(self.node)

    def facts(self) -> ServerConfig:
        return read_web_facts(self.ssh)

    def plan(self, *vhosts: Vhost, gone: tuple[str, ...] = ()) -> WebPlan:
        desired = {**{vhost.site: vhost for vhost in vhosts}, **dict.fromkeys(gone)}
        return plan_web(desired, self.facts(), self.node.kind)

    def install(self, *vhosts: Vhost, gone: tuple[str, ...] = ()) -> Outcome:
        """Install, and again: the second time nothing may be left to do."""
        outcome = install.install_config(self.node, self.plan(*vhosts, gone=gone))
        again = install.install_config(self.node, self.plan(*vhosts, gone=gone))
        assert not again.changed, again
        return outcome

    def get(self, path: str, host: str = SITE) -> Answer:
        return fetch(self.node, host, path)

    def docker(self, script: str, *args: str) -> str:
        """Do something as root, by hand."""
        command = ("docker", "exec", self.container, "sh", "-euc", script, "by-hand", *args)
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    @property
    def enabled(self) -> str:
        return "/etc/apache2/sites-enabled" if self.node.kind == "apache" else "/etc/nginx/sites-enabled"


@pytest.fixture(scope="module", params=KINDS)
def prepared(request: pytest.FixtureRequest, bed) -> Iterator[Server]:  # type: ignore[no-untyped-def] # importlib mode: a conftest has no name to import
    name = request.param
    key = SecretStr(bed.private_key.read_text())
    node = Node(name, bed.addresses[name], KINDS[name], key, (bed.host_keys[name],))
    prepare(node.as_admin())
    connect(node).run_script(_TREE, CODE, DATA, FRONT, SPY, " ".join(CODE_FILES), " ".join(DATA_FILES))
    server = Server(node, f"{bed.project}-{name}")
    yield server
    server.install(gone=SITES)
    assert server.get("/").is_catch_all


@pytest.fixture
def server(prepared: Server) -> Iterator[Server]:
    """The node with the test's site; afterwards nothing is left that was put there by hand."""
    install.install_config(prepared.node, prepared.plan(VHOST, gone=SITES[1:]))
    yield prepared
    prepared.docker('rm -f "$1"/by-hand* "$2"/by-hand*', prepared.enabled, LIVE)


def environment(server: Server, path: str, host: str = SITE) -> dict[str, str]:
    answer = server.get(path, host)
    assert answer.status == 200, answer
    found: dict[str, str] = json.loads(answer.body)
    return found


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


@pytest.mark.parametrize("where", ["enabled", "live"])
def test_vhost_that_does_not_parse(server: Server, where: str) -> None:
    before = server.facts()
    directory = server.enabled if where == "enabled" else LIVE
    server.docker('echo "Nonsense here {" >"$1/by-hand.conf"; chmod 644 "$1/by-hand.conf"', directory)
    changed = replace(VHOST, aliases=("new.web.example.org",))
    with pytest.raises(CommandFailed) as failed:
        install.install_config(server.node, server.plan(changed))
    assert "by-hand.conf" in str(failed.value)
    assert "the live one was not touched" in str(failed.value)
    if where == "live":
        assert f"{LIVE}/by-hand.conf was put there" in str(failed.value)
    after = server.facts()
    assert (after.live, after.loaded) == (before.live, before.live)
    assert environment(server, "/")["DOLLAR"] == "$"
    assert server.get("/", "new.web.example.org").is_catch_all
    server.docker('rm "$1/by-hand.conf"', directory)
    server.install(changed)
    assert server.get("/", "new.web.example.org").status == 200


def test_unknown_file_is_kept_and_reported(server: Server) -> None:
    server.docker('echo "# mine" >"$1/by-hand of mine.conf"; chmod 644 "$1/by-hand of mine.conf"', LIVE)
    server.install(VHOST)
    plan = server.plan(VHOST)
    assert not plan
    assert [(step.action, step.name) for step in plan.drift] == [("unknown", "by-hand of mine.conf")]
    assert server.docker('cat "$1/by-hand of mine.conf"', LIVE) == "# mine\n"


def test_altered_vhost_is_repaired(server: Server) -> None:
    server.docker('echo "# altered" >>"$1"', f"{LIVE}/{SITE}.conf")
    plan = server.plan(VHOST)
    assert [(step.action, step.name) for step in plan.drift] == [("repair", f"{SITE}.conf")]
    assert server.install(VHOST).changed
    assert "# altered" not in server.docker('cat "$1"', f"{LIVE}/{SITE}.conf")
    server.docker('rm "$1"', f"{LIVE}/{SITE}.conf")
    assert server.install(VHOST).changed
    assert environment(server, "/")


def test_killed_between_swap_and_reload(server: Server) -> None:
    old = server.facts().live
    changed = replace(VHOST, aliases=("new.web.example.org",))
    plan = server.plan(changed)
    apply.stage_generation(server.ssh, plan)
    apply.test_staged(server.ssh, plan)
    assert server.facts().live == old
    apply.switch_generation(server.ssh, plan.generation)
    killed = server.facts()
    assert (killed.live, killed.loaded) == (plan.generation, old)
    assert server.plan(changed).last_good == old
    outcome = server.install(changed)
    assert outcome.changed
    assert server.get("/", "new.web.example.org").status == 200


def test_killed_while_staging(server: Server) -> None:
    changed = replace(VHOST, aliases=("new.web.example.org",))
    plan = server.plan(changed)
    generations = "/var/aegir/config/generations"
    server.docker(
        'mkdir -p "$1/.new" "$1/$2"; echo half >"$1/.new/x.conf"; chown -R aegir: "$1/.new" "$1/$2"',
        generations,
        plan.generation,
    )
    server.install(changed)
    assert server.get("/", "new.web.example.org").status == 200
    assert ".new" not in server.docker('ls -A "$1"', generations).split()


def test_last_good_is_back_when_a_site_is_not_healthy(server: Server) -> None:
    before = server.facts().live
    changed = replace(VHOST, aliases=("new.web.example.org",), environment=())
    checks = [SiteCheck(SITE, contains="nowhere to be found")]
    with pytest.raises(install.InstallFailed) as failed:
        install.install_config(server.node, server.plan(changed), checks)
    assert f"http://{SITE}/ on {server.node.name}: answered 200 without 'nowhere" in str(failed.value)
    assert f"the configuration {before} is back" in str(failed.value)
    after = server.facts()
    assert (after.live, after.loaded) == (before, before)
    assert environment(server, "/")["DOLLAR"] == "$"


def test_reload_that_fails(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    before = server.facts().live
    changed = replace(VHOST, aliases=("new.web.example.org",))
    plan = server.plan(changed)
    switch = apply.switch_generation

    def switch_and_break(ssh: Ssh, generation: str) -> None:
        switch(ssh, generation)
        # Somebody breaks the configuration in the moment between the test and the reload.
        broken = "Nonsense here {" if generation == plan.generation else "# mended"
        server.docker('echo "$2" >"$1/by-hand.conf"', server.enabled, broken)

    monkeypatch.setattr(install, "switch_generation", switch_and_break)
    with pytest.raises(install.InstallFailed) as failed:
        install.install_config(server.node, plan)
    assert "by-hand.conf" in str(failed.value)
    assert "cannot be reloaded" in str(failed.value)
    assert f"the configuration {before} is back" in str(failed.value)
    after = server.facts()
    assert (after.live, after.loaded) == (before, before)
    assert environment(server, "/")["DOLLAR"] == "$"


def test_server_that_does_not_run_is_started(server: Server) -> None:
    service = apply.SERVICES[server.node.kind]
    server.docker('service "$1" stop', service)
    stopped = server.plan(VHOST)
    assert stopped
    assert stopped.loaded is None
    assert server.install(VHOST).changed
    assert environment(server, "/")


def test_nothing_is_missed_while_it_reloads(server: Server) -> None:
    """Visitors see no error while configurations are switched."""
    failures: list[str] = []
    over = threading.Event()

    def visit() -> None:
        while not over.is_set():
            try:
                check.check_site(server.node, SITE, "/s.txt", contains="static")
            except PackmasterError as failure:
                failures.append(str(failure))
            time.sleep(0.01)

    visitor = threading.Thread(target=visit)
    visitor.start()
    try:
        for number in range(3):
            changed = replace(VHOST, environment=(("ROUND", str(number)),))
            install.install_config(server.node, server.plan(changed))
    finally:
        over.set()
        visitor.join(30)
    assert failures == []


def test_old_generations_go(server: Server) -> None:
    for number in range(6):
        install.install_config(
            server.node, server.plan(replace(VHOST, environment=(("ROUND", str(number)),)))
        )
    facts = server.facts()
    assert len(facts.generations) <= 5
    assert facts.live in facts.generations
    assert read_loaded_generation(server.node) == facts.live


def test_refused_before_anything_is_touched(server: Server) -> None:
    before = server.facts()
    with pytest.raises(PlanRefused):
        server.plan(replace(VHOST, aliases=("a.org; evil",)))
    assert server.facts() == before
