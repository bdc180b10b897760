"""A prepared apache and a prepared nginx with one site, whose code and data have files of every kind."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr

from tasks.fleet import Node, ServerKind
from tasks.outcome import Outcome
from tasks.servers import prepare
from tasks.ssh import Ssh, connect
from tasks.web import install
from tasks.web.check import Answer, fetch
from tasks.web.facts import read_web_facts
from tasks.web.plan import WebPlan, plan_web
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
def prepared(request: pytest.FixtureRequest, bed: Any) -> Iterator[Server]:
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
