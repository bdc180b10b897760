"""Plain PHP and Drupal, git and archives, one server as a target, and a run that a worker carries out."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blocks import WebServer
from deployments.api import Api
from flows.add_site import add_site
from flows.create_platform import create_platform
from flows.deploy_platform import deploy_platform
from flows.remove_platform import remove_platform
from flows.remove_site import remove_site
from flows.rollback_platform import rollback_platform
from flows.verify_platform import verify_platform
from tests.nodes.fleet import ROOT, Fleet, change_nothing, fail, fleet, succeed, wait_until
from tests.nodes.prepared import prepared

__all__ = ["fleet"]

# Says what reached PHP, and writes where it may.
PAGE = """<?php
$db = new mysqli($_SERVER['DB_HOST'], $_SERVER['DB_USER'], $_SERVER['DB_PASSWORD'], $_SERVER['DB_NAME']);
echo $_SERVER['PACKMASTER_SITE'], ' ', $db->query('SELECT 6 * 7')->fetch_row()[0], ' %s';
"""
GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")


@pytest.fixture(scope="module")
def ready(fleet: Fleet, bed: Any) -> Fleet:
    prepared(bed)
    return fleet


def run(cwd: Path, *argv: str) -> str:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()


def commit(repository: Path, text: str) -> str:
    (repository / "web").mkdir(exist_ok=True)
    (repository / "web/index.php").write_text(PAGE % text)
    run(repository, *GIT, "add", "-A")
    run(repository, *GIT, "commit", "-qm", text)
    return run(repository, "git", "rev-parse", "HEAD")


def ends_of(ready: Fleet, name: str, count: int) -> list[str]:
    """How the task runs of that name ended, once so many have; they are recorded with a delay."""

    def ended() -> list[str]:
        found = ready.listing("task_runs", task_runs={"name": {"any_": [name]}})
        return [run["state_type"] for run in found if run["end_time"]]

    wait_until(lambda: len(ended()) >= count)
    return ended()


def test_plain_php_from_git_on_a_single_server(ready: Fleet, tmp_path: Path) -> None:
    site, platform = "git.kinds.test", "kinds-git"
    run(tmp_path, *GIT, "init", "-q", ".")
    first = commit(tmp_path, "one")
    target, source = WebServer.load("web3"), f"file://{tmp_path}/.git"
    wanted = {"platform": platform, "target": target, "source": source, "ref": "main", "docroot": "web"}
    assert "no directory public to serve" in fail(create_platform, **wanted | {"docroot": "public"})
    assert "nosuch" in fail(create_platform, **wanted | {"ref": "nosuch"})
    # A refused run did not cut off what it was reading, which would have said that the server is away.
    assert ends_of(ready, f"read releases of {platform} on web3", 2) == ["COMPLETED", "COMPLETED"]
    outcomes = succeed(create_platform, **wanted)
    assert {outcome.host for outcome in outcomes} == {"web3"}
    succeed(add_site, uri=site, platform=ready.platform(platform), database=ready.database)
    assert ready.get("web3", site).body == f"{site} 42 one"
    commit(tmp_path, "two")
    succeed(deploy_platform, platform=ready.platform(platform))
    assert ready.get("web3", site).body == f"{site} 42 two"
    succeed(deploy_platform, platform=ready.platform(platform), ref=first)
    assert ready.get("web3", site).body == f"{site} 42 one"
    assert ready.platform(platform).ref == first
    change_nothing(verify_platform, platform=ready.platform(platform))
    for name in ("web1", "web2", "web4"):
        assert ready.current(name, platform) == ""
        assert site not in ready.execute(name, "ls", "/var/aegir/config/live/", "/var/aegir/sites")
    succeed(remove_site, site=ready.site(site))
    succeed(remove_platform, platform=ready.platform(platform))


def test_an_archive_is_what_its_checksum_says_or_is_refused(ready: Fleet, tmp_path: Path) -> None:
    (tmp_path / "app-1.0").mkdir()
    (tmp_path / "app-1.0/index.php").write_text("<?php echo 'archived';")
    archive = tmp_path / "app-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(tmp_path / "app-1.0", "app-1.0")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    wanted = {"platform": "kinds-tar", "target": ready.cluster, "source": str(archive)}
    with ready.untouched():
        assert "checksum" in fail(create_platform, **wanted, checksum="0" * 64)
    succeed(create_platform, **wanted, checksum=digest)
    change_nothing(create_platform, **wanted, checksum=digest)
    for name in ready.names:
        found = ready.execute(name, "cat", "/var/aegir/platforms/kinds-tar/current/index.php")
        assert found == "<?php echo 'archived';"
    succeed(remove_platform, platform=ready.platform("kinds-tar"))


def test_a_drupal_site_is_linked_in_every_release(ready: Fleet, tmp_path: Path) -> None:
    site, platform = "drupal.kinds.test", "kinds-drupal"
    (tmp_path / "web/sites/default").mkdir(parents=True)
    index = "<?php define('DRUPAL_ROOT', __DIR__); $dir = 'sites/' . $_SERVER['PACKMASTER_SITE'];"
    index += " require $dir . '/settings.php'; $db = $databases['default']['default'];"
    index += " new mysqli($db['host'], $db['username'], $db['password'], $db['database']);"
    index += " echo $settings['file_public_path'], ' ', strlen($settings['hash_salt']), ' %s';"
    (tmp_path / "web/index.php").write_text(index % "one")
    fields = {"source": str(tmp_path), "docroot": "web", "profile": "drupal"}
    succeed(create_platform, platform=platform, target=ready.cluster, **fields)
    outcomes = succeed(add_site, uri=site, platform=ready.platform(platform), database=ready.database)
    assert any("no vendor/bin/drush" in outcome.detail for outcome in outcomes)
    shown = f"sites/{site}/files 64"
    assert ready.bodies(site) == [f"{shown} one"] * 4
    data = f"/var/aegir/sites/{site}"
    ready.execute("web1", "su", "www-data", "-s", "/bin/sh", "-c", f"echo up >{data}/files/a.txt")
    assert ready.get("web1", site, f"/sites/{site}/files/a.txt").body == "up\n"
    assert ready.get("web1", site, f"/sites/{site}/settings.php").status in {403, 404}

    (tmp_path / "web/index.php").write_text(index % "two")
    succeed(deploy_platform, platform=ready.platform(platform))
    assert ready.bodies(site) == [f"{shown} two"] * 4
    link = f"/var/aegir/platforms/{platform}/current/web/sites/{site}"
    assert {ready.execute(name, "readlink", link).strip() for name in ready.names} == {data}
    change_nothing(verify_platform, platform=ready.platform(platform))
    succeed(rollback_platform, platform=ready.platform(platform))
    assert ready.bodies(site) == [f"{shown} one"] * 4
    ready.execute("web2", "rm", link)
    succeed(verify_platform, platform=ready.platform(platform))
    assert ready.execute("web2", "readlink", link).strip() == data
    change_nothing(verify_platform, platform=ready.platform(platform))
    succeed(remove_site, site=ready.site(site))
    assert ready.execute("web1", "ls", f"/var/aegir/platforms/{platform}/current/web/sites").split() == [
        "default",
        "sites.php",
    ]
    succeed(remove_platform, platform=ready.platform(platform))


@pytest.fixture(scope="module")
def worker(ready: Fleet) -> Iterator[None]:
    """The server as `packmaster bootstrap` leaves it, and one worker."""
    command = [sys.executable, "-m", "deployments.cli", "bootstrap", "--pool", "kinds"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    child = subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", "kinds", "--name", "kinds"],
        cwd=ROOT,
        env={**os.environ, "PREFECT_WORKER_QUERY_SECONDS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield
    # Asked to end, it was once still there after 60 s, and why is not known; nothing here is about its end.
    child.kill()
    child.wait(240)


def test_another_system_deploys_through_the_api(ready: Fleet, worker: None, tmp_path: Path) -> None:
    (tmp_path / "index.php").write_text("<?php echo 'by a worker';")
    said: list[str] = []
    api = Api(ready.api, "", said.append)
    target = api.reference("packmaster-cluster", ready.cluster.name)
    wanted = {"platform": "kinds-api", "target": target, "source": str(tmp_path)}
    assert "4 of 4 hosts" in api.run("create-platform", wanted)
    # Once it is there, its block is all that has to be said.
    platform = api.reference("packmaster-platform", "kinds-api")
    assert api.run("verify-platform", {"platform": platform}).startswith("Nothing changed")
    assert len({ready.current(name, "kinds-api") for name in ready.names} - {""}) == 1
    runs = {run["name"]: run for run in ready.listing("flow_runs")}
    assert runs["create kinds-api"]["state"]["type"] == "COMPLETED"
    assert runs["verify kinds-api"]["parameters"]["platform"] == platform
    made = runs["create kinds-api"]["id"]
    tasks = wait_until(
        lambda: {r["name"] for r in ready.listing("task_runs", flow_runs={"id": {"any_": [made]}})}
    )
    assert any(name.endswith(" on web4") for name in tasks), tasks
    succeed(remove_platform, platform=ready.platform("kinds-api"))
