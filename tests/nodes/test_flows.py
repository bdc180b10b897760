"""A WordPress through its whole life on four real nodes, by the flows that an operator triggers."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.add_site import add_site
from flows.create_platform import create_platform
from flows.deploy_platform import deploy_platform
from flows.prepare_server import prepare_server
from flows.remove_platform import remove_platform
from flows.remove_site import remove_site
from flows.rollback_platform import rollback_platform
from flows.verify_platform import verify_platform
from tasks.grants import database_name, user_name
from tests.nodes.fleet import (
    Fleet,
    change_nothing,
    fail,
    fleet,
    succeed,
    wait_until,
)

__all__ = ["fleet"]

WORDPRESS = Path(__file__).resolve().parents[2] / ".packmaster/sources/wordpress"
BLOG, SITE, ALIAS, OLD = "flows-blog", "blog.flows.test", "weblog.flows.test", "old.flows.test"
TITLE = "Kept in the database"
POST = "Written through one node"
VERSION = "wp-content/version.txt"


@pytest.fixture(scope="module")
def wordpress(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's WordPress with one more file, which a next release can change."""
    source = tmp_path_factory.mktemp("source") / "wordpress"
    shutil.copytree(WORDPRESS, source, symlinks=True, copy_function=os.link)
    (source / VERSION).write_text("one")
    return source


@pytest.fixture(scope="module")
def ready(fleet: Fleet) -> Fleet:
    """The fleet with its servers prepared."""
    succeed(prepare_server, servers=list(fleet.names))
    return fleet


@pytest.fixture(scope="module")
def blog(ready: Fleet, wordpress: Path) -> Fleet:
    """A WordPress on all four nodes, with a site."""
    outcomes = succeed(create_platform, **codebase(ready, wordpress))
    assert {o.host for o in outcomes.changed} == set(ready.names)
    assert {o.step for o in outcomes.changed} >= {"stage", "switch"}
    succeed(add_site, **wanted(ready))
    return ready


@pytest.fixture(scope="module")
def secrets(blog: Fleet) -> tuple[str, ...]:
    """The passwords that add-site made, read while there is a site."""
    site = blog.site(SITE)
    return (site.database_password.get_secret_value(), site.admin_password.get_secret_value())


def codebase(fleet: Fleet, source: Path) -> dict[str, Any]:
    return {"platform": BLOG, "target": fleet.cluster, "source": str(source), "profile": "wordpress"}


def wanted(fleet: Fleet) -> dict[str, Any]:
    names = {"aliases": [ALIAS], "redirects": [OLD], "title": TITLE}
    return {"uri": SITE, "platform": fleet.platform(BLOG), "database": fleet.database, **names}


def names_in(archive: Path) -> list[str]:
    with tarfile.open(archive) as opened:
        return opened.getnames()


def post(fleet: Fleet, name: str, title: str) -> None:
    """Write a post through one node, as an author's program does."""
    password = fleet.site(SITE).admin_password.get_secret_value()
    content = {"post_title": title, "post_status": "publish"}
    call = xmlrpc.client.dumps((1, "admin", password, content), "wp.newPost")
    xmlrpc.client.loads(fleet.get(name, SITE, "/xmlrpc.php", call.encode()).body)


def test_a_prepared_server_is_left_alone(ready: Fleet) -> None:
    with ready.untouched():
        change_nothing(prepare_server, servers=list(ready.names))
        succeed(prepare_server, servers=list(ready.names), dry_run=True)
    assert ready.artifact("plan-prepare-server")


def test_wordpress_answers_through_every_node_with_what_is_in_the_database(
    blog: Fleet, secrets: tuple[str, ...]
) -> None:
    assert all(TITLE in body for body in blog.bodies(SITE))
    post(blog, "web3", POST)
    assert all(POST in body for body in blog.bodies(SITE))
    for name in blog.names:
        # WordPress sends its readers to its one name; what is no page is served under the alias itself.
        assert blog.get(name, ALIAS, f"/{VERSION}").body == "one"
        moved = blog.get(name, OLD, "/a?b=c")
        assert (moved.status, moved.location) == (301, f"http://{SITE}/a?b=c")
        assert blog.get(name, "nobody.flows.test").status == 404
        assert blog.get(name, SITE, "/wp-config.php").body == ""


def test_every_node_is_granted_what_it_needs_and_nobody_else(blog: Fleet) -> None:
    hosts = blog.sql(f"SELECT Host FROM mysql.user WHERE User = '{user_name(SITE)}'").split()
    assert set(hosts) == {node.address for node in blog.nodes}


def test_second_runs_change_nothing(blog: Fleet, wordpress: Path) -> None:
    with blog.untouched():
        change_nothing(create_platform, **codebase(blog, wordpress))
        again = change_nothing(deploy_platform, platform=blog.platform(BLOG))
        change_nothing(add_site, **wanted(blog))
        change_nothing(add_site, uri=SITE, platform=blog.platform(BLOG), database=blog.database)
        change_nothing(verify_platform, platform=blog.platform(BLOG))
        current = blog.current("web1", BLOG)
        change_nothing(rollback_platform, platform=blog.platform(BLOG), release=current)
    assert {outcome.host for outcome in again} == set(blog.names)
    assert set(blog.site(SITE).aliases) == {ALIAS}
    assert all(POST in body for body in blog.bodies(SITE))


def test_a_new_release_is_served_everywhere_and_so_is_the_old_one_after_a_rollback(
    blog: Fleet, wordpress: Path
) -> None:
    uploads, old = f"/var/aegir/sites/{SITE}/files", blog.current("web1", BLOG)
    blog.execute("web2", "su", "www-data", "-s", "/bin/sh", "-c", f"echo kept >{uploads}/upload.txt")
    (wordpress / VERSION).write_text("two")

    with blog.untouched():
        succeed(deploy_platform, platform=blog.platform(BLOG), dry_run=True)
    plan = blog.lines(f"plan-deploy-{BLOG}")
    assert all(any(name in line and f"from {old}" in line for line in plan) for name in blog.names), plan

    outcomes = succeed(deploy_platform, platform=blog.platform(BLOG))
    assert {o.host for o in outcomes.changed if o.step == "switch"} == set(blog.names)
    new = blog.current("web1", BLOG)
    assert new != old
    assert {blog.current(name, BLOG) for name in blog.names} == {new}
    assert blog.bodies(SITE, f"/{VERSION}") == ["two"] * 4
    change_nothing(deploy_platform, platform=blog.platform(BLOG))

    with blog.untouched():
        succeed(rollback_platform, platform=blog.platform(BLOG), dry_run=True)
    assert old in str(blog.table(f"plan-roll-{BLOG}-back"))
    succeed(rollback_platform, platform=blog.platform(BLOG))
    assert {blog.current(name, BLOG) for name in blog.names} == {old}
    assert blog.bodies(SITE, f"/{VERSION}") == ["one"] * 4
    assert "no older release" in fail(rollback_platform, platform=blog.platform(BLOG))
    # What was rolled back is what is registered as deployed: verifying does not go forward again.
    change_nothing(verify_platform, platform=blog.platform(BLOG))
    succeed(rollback_platform, platform=blog.platform(BLOG), release=new)
    assert blog.bodies(SITE, f"/{VERSION}") == ["two"] * 4
    assert all(POST in body for body in blog.bodies(SITE))
    assert blog.get("web2", SITE, "/wp-content/uploads/upload.txt").body == "kept\n"


def test_drift_is_reported_then_repaired_then_gone(blog: Fleet) -> None:
    release, directory = blog.current("web1", BLOG), f"/var/aegir/sites/{SITE}"
    user, config = user_name(SITE), "/var/aegir/config/live"
    blog.execute("web1", "sh", "-c", f"echo evil >/var/aegir/platforms/{BLOG}/releases/{release}/wp-evil.php")
    blog.execute("web2", "sh", "-c", f"echo '# by hand' >>{config}/{SITE}.conf")
    blog.sql(f"DROP USER '{user}'@'{blog.node('web3').address}'")
    blog.execute("web4", "rm", "-rf", f"{directory}/private")
    assert blog.get("web3", SITE).status == 500

    with blog.untouched():
        succeed(verify_platform, platform=blog.platform(BLOG), dry_run=True)
    lines = blog.lines(f"plan-verify-{BLOG}")
    web3 = f"`{user}`@`{blog.node('web3').address}`"
    drift = {"web1": "whole", "web2": f"{SITE}.conf", f"{SITE} cut in": web3, "web4": f"{directory}/private"}
    for where, what in drift.items():
        assert any(where in line and what in line for line in lines), (where, what, lines)

    outcomes = succeed(verify_platform, platform=blog.platform(BLOG))
    assert {"web1", "web2", "web4"} <= {outcome.host for outcome in outcomes.changed}
    assert all(POST in body for body in blog.bodies(SITE))
    assert "wp-evil.php" not in blog.execute("web1", "ls", f"/var/aegir/platforms/{BLOG}/current/")
    change_nothing(verify_platform, platform=blog.platform(BLOG))


def test_a_node_that_is_down_is_named_and_the_rest_serves_on(
    blog: Fleet, docker_kill: Callable[[str], None], docker_start: Callable[[str], None]
) -> None:
    accounts = f"SELECT host FROM mysql.user WHERE user = '{user_name(SITE)}' ORDER BY host"
    before = blog.sql(accounts)
    docker_kill("web4")
    said = fail(verify_platform, platform=blog.platform(BLOG))
    assert "web4" in said
    # A node that was not seen keeps its access: when it is back, it has to serve at once.
    assert blog.node("web4").address in before
    assert blog.sql(accounts) == before
    assert not any(name in said for name in ("web1", "web2", "web3"))
    assert "web4" in blog.artifact(f"outcome-verify-{BLOG}")["description"]
    assert all(POST in body for body in blog.bodies(SITE, names=("web1", "web2", "web3")))
    docker_start("web4")
    succeed(verify_platform, platform=blog.platform(BLOG))
    change_nothing(verify_platform, platform=blog.platform(BLOG))
    assert all(POST in body for body in blog.bodies(SITE))


def test_a_node_that_lost_its_code_gets_it_again(blog: Fleet) -> None:
    blog.execute("web3", "rm", "-rf", f"/var/aegir/platforms/{BLOG}")
    assert blog.get("web3", SITE).status >= 400
    outcomes = succeed(verify_platform, platform=blog.platform(BLOG))
    assert {o.host for o in outcomes.changed if o.step == "stage"} == {"web3"}
    assert all(POST in body for body in blog.bodies(SITE))
    change_nothing(verify_platform, platform=blog.platform(BLOG))


def test_a_platform_in_use_is_not_removed(blog: Fleet) -> None:
    with blog.untouched():
        assert SITE in fail(remove_platform, platform=blog.platform(BLOG))
        succeed(remove_site, site=blog.site(SITE), dry_run=True)
        succeed(add_site, **wanted(blog) | {"aliases": ["third.flows.test"]}, dry_run=True)
    assert database_name(SITE) in str(blog.table(f"plan-remove-{SITE.replace('.', '-')}"))
    assert f"{SITE}.conf" in str(blog.table(f"plan-add-{SITE.replace('.', '-')}"))
    assert set(blog.site(SITE).aliases) == {ALIAS}


def test_a_site_is_backed_up_and_gone_and_then_its_platform(blog: Fleet) -> None:
    site = blog.site(SITE)
    outcomes = succeed(remove_site, site=site)
    (backup,) = (o.detail for o in outcomes if o.step == "back up")
    found = {path.name: path for path in Path(str(blog.home / "backups")).rglob("*") if path.is_file()}
    assert POST in gzip.decompress(found["database.sql.gz"].read_bytes()).decode()
    archives = [path for name, path in found.items() if ".tar" in name]
    assert len(archives) == 4, (backup, found)
    assert any("upload.txt" in name for path in archives for name in names_in(path))
    for name in blog.names:
        assert blog.get(name, SITE).status == 404
        assert SITE not in blog.execute(name, "ls", "/var/aegir/sites/").split()
    assert database_name(SITE) not in blog.sql("SHOW DATABASES").split()
    assert user_name(SITE) not in blog.sql("SELECT User FROM mysql.user").split()
    succeed(remove_site, site=site)

    succeed(remove_platform, platform=blog.platform(BLOG), dry_run=True)
    assert blog.current("web1", BLOG)
    platform = blog.platform(BLOG)
    succeed(remove_platform, platform=platform)
    assert not any(BLOG in blog.execute(n, "ls", "/var/aegir/platforms/").split() for n in blog.names)
    change_nothing(remove_platform, platform=platform)


def test_what_happened_can_be_followed_by_other_systems(blog: Fleet) -> None:
    kinds = {
        "packmaster.platform.created": f"packmaster.platform.{BLOG}",
        "packmaster.platform.switched": f"packmaster.platform.{BLOG}",
        "packmaster.platform.removed": f"packmaster.platform.{BLOG}",
        "packmaster.site.added": f"packmaster.site.{SITE}",
        "packmaster.site.removed": f"packmaster.site.{SITE}",
        "packmaster.host.failed": "packmaster.host.web4",
    }
    for kind, resource in kinds.items():
        assert wait_until(lambda k=kind, r=resource: blog.events(k, r)), kind
    site = SITE.replace(".", "-")
    for what in (f"deploy-{BLOG}", f"verify-{BLOG}", f"roll-{BLOG}-back", f"add-{site}", f"remove-{site}"):
        assert blog.artifact(f"plan-{what}")["type"] == "table"
        assert blog.artifact(f"outcome-{what}")["type"] == "table"


def test_runs_have_names_that_a_person_can_read(blog: Fleet) -> None:
    names = {run["name"] for run in blog.listing("flow_runs")}
    works = (f"create {BLOG}", f"deploy {BLOG}", f"verify {BLOG}", f"roll {BLOG} back", f"remove {BLOG}")
    assert {*works, f"add {SITE}", f"remove {SITE}"} <= names
    tasks = wait_until(lambda: {run["name"] for run in blog.listing("task_runs") if "web4" in run["name"]})
    assert any(name.startswith(f"read releases of {BLOG} on web4") for name in tasks), tasks


def test_the_server_never_saw_a_secret(blog: Fleet, secrets: tuple[str, ...]) -> None:
    for what in ("flow_runs", "task_runs", "logs", "artifacts"):
        for record in blog.listing(what):
            leaked = [s[:6] for s in (*blog.secrets, *secrets) if s in str(record)]
            assert not leaked, (what, record)
