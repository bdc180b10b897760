"""One site on one node, taken away again after each test, and a database with an account for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from tasks.fleet import Database, Node
from tasks.grants.apply import apply_grants
from tasks.grants.connection import open_admin
from tasks.grants.facts import read_grant_facts
from tasks.grants.plan import plan_grants
from tasks.grants.values import Desired, RemovedAccess, SiteAccess, database_name, user_name
from tasks.sites.install import new_password
from tasks.sites.plan import Credentials, Site
from tasks.ssh import Ssh, connect

if TYPE_CHECKING:
    from tests.nodes.conftest import Bed, DockerExec

PREPARE = """
set -e
groupadd -f -g 5000 aegir
id aegir >/dev/null 2>&1 || useradd -u 5000 -g 5000 -G www-data -d /var/aegir -M -s /bin/bash aegir
install -d -o aegir -g aegir -m 0755 /var/aegir /var/aegir/sites /var/aegir/platforms
install -d -o aegir -g aegir -m 0700 /var/aegir/.ssh
install -o aegir -g aegir -m 0600 /root/.ssh/authorized_keys /var/aegir/.ssh/authorized_keys
if [ ! -e /etc/sudoers.d/packmaster ]; then
    echo 'aegir ALL=(www-data) NOPASSWD: ALL' >/etc/sudoers.d/packmaster
    chmod 0440 /etc/sudoers.d/packmaster
fi
"""


@pytest.fixture(scope="module")
def node(bed: Bed, docker_exec: DockerExec) -> Node:
    docker_exec("web1", "sh", "-c", PREPARE)
    key = SecretStr(bed.private_key.read_text())
    return Node("web1", bed.addresses["web1"], "apache", key, (bed.host_keys["web1"],))


@pytest.fixture(scope="module")
def ssh(node: Node) -> Ssh:
    return connect(node)


@pytest.fixture(scope="module")
def database(bed: Bed) -> Database:
    return Database("db", bed.db_host, bed.db_admin_user, SecretStr(bed.db_admin_password), bed.db_port)


@pytest.fixture
def site(docker_exec: DockerExec) -> Iterator[Site]:
    site = Site("sites.example.org", "sites-test", title="Sites")
    yield site
    docker_exec("web1", "rm", "-rf", site.directory, f"/var/aegir/platforms/{site.platform}")


def converge(database: Database, desired: Desired) -> None:
    with closing(open_admin(database)) as connection:
        plan = plan_grants([desired], read_grant_facts(connection, "db"))
    apply_grants(database, [desired], plan)
    apply_grants(database, [desired], plan, removals=True)


@pytest.fixture
def credentials(site: Site, node: Node, database: Database) -> Iterator[Credentials]:
    password = new_password()
    access = SiteAccess(site.uri, database_name(site.uri), user_name(site.uri), password, (node.address,))
    converge(database, access)
    yield Credentials(database.host, database.port, access.database, access.user, password)
    converge(database, RemovedAccess(site.uri, access.database, access.user))
