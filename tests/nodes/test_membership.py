"""A server joins a cluster and leaves it again, on real nodes: first it serves, then it is listed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from blocks import Cluster, WebServer
from flows.add_node import add_node
from flows.add_site import add_site
from flows.create_platform import create_platform
from flows.remove_node import remove_node
from flows.remove_platform import remove_platform
from flows.remove_site import remove_site
from flows.verify_platform import verify_platform
from tasks.errors import AccessDenied
from tasks.grants import database_name, user_name
from tasks.servers import prepare
from tasks.ssh import Ssh
from tests.nodes.fleet import Fleet, change_nothing, fail, fleet, saved, succeed
from tests.nodes.granted import ALL
from tests.nodes.prepared import prepared

__all__ = ["fleet"]

CLUSTER, SHOP, SITE = "members-web", "members-shop", "shop.members.test"
UPLOADS = f"/var/aegir/sites/{SITE}/files"
PAGE = """<?php
$db = new mysqli($_SERVER['DB_HOST'], $_SERVER['DB_USER'], $_SERVER['DB_PASSWORD'], $_SERVER['DB_NAME']);
echo 'release 1, database ', $db->query('SELECT 1 + 1')->fetch_row()[0];
"""
SHOWN = "release 1, database 2"


@pytest.fixture(scope="module")
def shop(fleet: Fleet, bed: Any, tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    """A site on web1 and web3, whose source has moved on since."""
    prepared(bed)
    cluster = saved(Cluster(servers=["web1", "web3"]), CLUSTER)
    source = tmp_path_factory.mktemp("shop")
    (source / "index.php").write_text(PAGE)
    succeed(create_platform, platform=SHOP, target=cluster, source=str(source), profile="php")
    succeed(add_site, uri=SITE, platform=fleet.platform(SHOP), database=fleet.database)
    (source / "index.php").write_text("<?php echo 'release 2';")
    return fleet


def the_cluster() -> Cluster:
    return Cluster.get(CLUSTER, "a test")


def hosts(shop: Fleet) -> set[str]:
    return set(shop.sql(f"SELECT Host FROM mysql.user WHERE User = '{user_name(SITE)}'").split())


def addresses(shop: Fleet, *names: str) -> set[str]:
    return {shop.node(name).address for name in names}


def test_who_cannot_join_or_leave(shop: Fleet) -> None:
    with shop.untouched():
        assert "not registered" in fail(add_node, target=the_cluster(), server="members-nobody")
        one = saved(Cluster(servers=["web4"]), "members-one")
        assert "web4 is the last server of members-one" in fail(remove_node, target=one, server="web4")
        again = WebServer(
            address=shop.node("web1").address,
            kind="apache",
            credentials=shop.credentials,
            host_keys=list(shop.node("web1").host_keys),
        )
        saved(again, "members-web1-again")
        assert "same machine" in fail(add_node, target=the_cluster(), server="members-web1-again")
        succeed(add_node, target=the_cluster(), server="web2", dry_run=True)
    assert any("list it in members-web" in line for line in shop.lines(f"plan-add-web2-to-{CLUSTER}"))
    assert the_cluster().servers == ["web1", "web3"]


def test_a_server_serves_all_sites_and_is_listed_then(shop: Fleet) -> None:
    outcomes = succeed(add_node, target=the_cluster(), server="web2")
    steps = [outcome.step for outcome in outcomes if outcome.host == "web2"]
    assert steps.index("check sites") < steps.index("list")
    assert the_cluster().servers == ["web1", "web3", "web2"]
    # What the others run, although the source says something else by now.
    assert shop.bodies(SITE, names=("web1", "web2", "web3")) == [SHOWN] * 3
    assert len({shop.current(name, SHOP) for name in ("web1", "web2", "web3")}) == 1
    assert hosts(shop) == addresses(shop, "web1", "web2", "web3")
    with shop.untouched():
        change_nothing(add_node, target=the_cluster(), server="web2")
        change_nothing(verify_platform, platform=shop.platform(SHOP))


def test_a_server_that_does_not_serve_is_not_listed(shop: Fleet) -> None:
    shop.execute("web4", "sh", "-c", "touch /etc/nginx/conf.d/x.conf; echo broken >/etc/nginx/conf.d/x.conf")
    try:
        said = fail(add_node, target=the_cluster(), server="web4")
    finally:
        shop.execute("web4", "rm", "/etc/nginx/conf.d/x.conf")
    assert "web4" in said
    assert "web4" not in the_cluster().servers
    assert shop.bodies(SITE, names=("web1", "web2", "web3")) == [SHOWN] * 3


def test_a_server_that_leaves_has_nothing_of_ours_but_its_uploads(shop: Fleet) -> None:
    shop.execute("web2", "su", "www-data", "-s", "/bin/sh", "-c", f"echo kept >{UPLOADS}/upload.txt")
    with shop.untouched():
        succeed(remove_node, target=the_cluster(), server="web2", dry_run=True)
    # It is in another cluster, too, which needs our key.
    outcomes = succeed(remove_node, target=the_cluster(), server="web2")
    assert "remove key" not in {outcome.step for outcome in outcomes}
    assert the_cluster().servers == ["web1", "web3"]
    assert shop.get("web2", SITE).status == 404
    assert hosts(shop) == addresses(shop, "web1", "web3")
    assert shop.execute("web2", "cat", f"{UPLOADS}/upload.txt") == "kept\n"
    with shop.untouched():
        change_nothing(remove_node, target=the_cluster(), server="web2")
        change_nothing(verify_platform, platform=shop.platform(SHOP))


def test_the_servers_that_stay_get_the_right_spelling_before_the_other_one_is_taken(
    shop: Fleet, bed: Any, root_sql: Any
) -> None:
    database, user = database_name(SITE), user_name(SITE)
    escaped = database.replace("_", "\\_")
    succeed(add_node, target=the_cluster(), server="web2")
    for host in hosts(shop):
        root_sql(
            "db",
            f"GRANT {ALL} ON `{database}`.* TO `{user}`@`{host}`; "
            f"REVOKE {ALL} ON `{escaped}`.* FROM `{user}`@`{host}`",
        )
    mighty = {"admin_user": bed.db_admin_user, "admin_password": SecretStr(bed.db_admin_password)}
    saved(shop.database.model_copy(update=mighty), shop.database.name)
    try:
        succeed(remove_node, target=the_cluster(), server="web2")
    finally:
        saved(shop.database, shop.database.name)
    assert hosts(shop) == addresses(shop, "web1", "web3")
    assert shop.bodies(SITE, names=("web1", "web3")) == [SHOWN] * 2
    change_nothing(verify_platform, platform=shop.platform(SHOP))


def test_the_key_goes_with_the_last_membership(shop: Fleet) -> None:
    rest = [name for name in shop.cluster.servers if name != "web2"]
    saved(Cluster(servers=rest), shop.cluster.name)
    try:
        succeed(add_node, target=the_cluster(), server="web2")
        succeed(remove_node, target=the_cluster(), server="web2")
        with pytest.raises(AccessDenied):
            Ssh(shop.node("web2")).run(["true"])
        with shop.untouched():
            change_nothing(remove_node, target=the_cluster(), server="web2")
    finally:
        saved(Cluster(servers=[*rest[:1], "web2", *rest[1:]]), shop.cluster.name)
        prepare(shop.node("web2"))


def test_a_dead_server_leaves_the_databases_too(
    shop: Fleet, docker_kill: Callable[[str], None], docker_start: Callable[[str], None]
) -> None:
    succeed(add_node, target=the_cluster(), server="web2")
    docker_kill("web2")
    said = fail(remove_node, target=the_cluster(), server="web2")
    assert "web2" in said
    assert "Run this again when it does" in str(shop.table(f"outcome-remove-web2-from-{CLUSTER}"))
    assert the_cluster().servers == ["web1", "web3"]
    assert hosts(shop) == addresses(shop, "web1", "web3")
    change_nothing(verify_platform, platform=shop.platform(SHOP))
    docker_start("web2")
    succeed(remove_node, target=the_cluster(), server="web2")
    assert shop.get("web2", SITE).status == 404


def test_what_was_made_here_goes_again(shop: Fleet, tmp_path: Path) -> None:
    succeed(remove_site, site=shop.site(SITE))
    succeed(remove_platform, platform=shop.platform(SHOP))
