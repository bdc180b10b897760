"""A service that an operator made ready, and a shop on two nodes that was made over HTTP alone."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tasks.fleet import Database
from tasks.grants.connection import open_admin
from tests.nodes.databases import least_privileged
from tests.nodes.prepared import KINDS
from tests.nodes.service import POOL, ROOT, Listener, Service, find_port

NODES = ("web1", "web3")
SITE = "shop.service.test"
ACCOUNT = "packmaster_svc"
# Spelt so that JSON, a URL and base64 each write them differently.
PASSWORD = "pl4nted+db/pass=word&77c1"


def named(kind: str, name: str) -> dict[str, Any]:
    """A block as a parameter, by its name."""
    return {"$ref": {"block_document_slug": f"packmaster-{kind}/{name}"}}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    # Another content each time: a kept bed may have the release of a run that was cut off.
    (folder / "index.php").write_text(f"<?php echo 'served {uuid.uuid4()}';")
    (folder / "lib.php").write_text("<?php // a file that somebody may change")
    return folder


def write_inventory(bed: Any, home: Path) -> Path:
    """Two nodes as a cluster, and another cluster of one server, on which nobody listens for SSH any more."""
    shutil.copy(bed.private_key, home / "key")
    (home / "password").write_text(PASSWORD)
    servers = {
        name: {"address": bed.addresses[name], "kind": KINDS[name], "credentials": "fleet",
               "host_keys": [bed.host_keys[name]]}
        for name in NODES
    }  # fmt: skip
    servers["lost1"] = {**servers["web1"], "ssh_port": 2}
    database = {"host": bed.db_host, "admin_user": ACCOUNT, "admin_password": {"file": "password"}}
    inventory = {
        "ssh_credentials": {"fleet": {"private_key": {"file": "key"}}},
        "web_servers": servers,
        "database_servers": {"svc-db": database},
        "clusters": {"svc-web": {"servers": list(NODES)}, "svc-lost": {"servers": ["lost1"]}},
    }
    (home / "inventory.yaml").write_text(json.dumps(inventory))
    return home / "inventory.yaml"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server that bootstrap made ready, and two workers of its pool, each with a queue of its own."""
    home = tmp_path_factory.mktemp("service")
    with Listener().listening() as listener:
        service = Service(home, find_port(), listener)
        try:
            service.start()
            service.packmaster("bootstrap", "--pool", POOL)
            for worker, queue in (("w1", "default"), ("w2", "second")):
                service.spawn(
                    worker, "worker", "start", "--pool", POOL, "--name", worker, "--work-queue", queue
                )
            yield service
        finally:
            service.stop()


@pytest.fixture(scope="module")
def account(bed: Any) -> Iterator[None]:
    """Packmaster's own account on the database server, with a password that is like no other text."""
    root = Database("db", bed.db_host, bed.db_admin_user, SecretStr(bed.db_admin_password), bed.db_port)
    least_privileged(root, bed.controller, ACCOUNT, PASSWORD)
    yield
    with closing(open_admin(root)) as connection, connection.cursor() as cursor:
        cursor.execute(f"DROP USER '{ACCOUNT}'@'{bed.controller}'")


@pytest.fixture(scope="module")
def ready(service: Service, bed: Any, account: None) -> Service:
    """The bed registered as an operator does it, and its nodes prepared."""
    said = service.packmaster("inventory", "apply", str(write_inventory(bed, service.home)))
    assert "7 of 7 changed" in said
    assert "create    lock packmaster-server-web1" in service.packmaster("bootstrap", "--pool", POOL)
    said = service.example("run_flow.sh", "prepare-server", json.dumps({"servers": list(NODES)}))
    assert "Completed: " in said
    return service


def words_of_the_readme(source: Path) -> list[str]:
    """What the README types to create a platform, about the platform, cluster and directory that are here."""
    text = (ROOT / "README.md").read_text()
    (typed,) = re.findall(r"^deployments/examples/run_flow\.sh (create-platform .*?)\n```", text, re.M | re.S)
    words = shlex.split(typed)
    wanted = json.loads(words[1])
    assert wanted["target"] == named("cluster", "web")
    wanted |= {"platform": "svc-shop", "source": str(source), "target": named("cluster", "svc-web")}
    return [words[0], json.dumps(wanted), *words[2:]]


@pytest.fixture(scope="module")
def shop(ready: Service, source: Path) -> Iterator[Service]:
    """A platform made by curl, and a site made by Python."""
    words = words_of_the_readme(source)
    first = ready.example("run_flow.sh", *words)
    assert "Completed: " in first
    assert "plan-deploy-svc-shop\tweb1\t" in first
    assert "outcome-deploy-svc-shop\tweb3\tswitch\tchanged" in first
    again = ready.example("run_flow.py", *words)
    assert again.splitlines()[0] == first.splitlines()[0], "one key, one run"
    site = {
        "uri": SITE,
        "platform": named("platform", "svc-shop"),
        "database": named("database-server", "svc-db"),
    }
    assert "Completed: " in ready.example("run_flow.py", "add-site", json.dumps(site))
    yield ready
    here = {"site": named("site", SITE.replace(".", "-"))}
    assert "Completed: " in ready.example("run_flow.sh", "remove-site", json.dumps(here))
    there = {"platform": named("platform", "svc-shop")}
    assert "Completed: " in ready.example("run_flow.sh", "remove-platform", json.dumps(there))
