"""Drupal, installed by the drush of its release: once, from one node, and no password is in any argument."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from blocks import Cluster
from flows.add_site import add_site
from flows.create_platform import create_platform
from flows.remove_platform import remove_platform
from flows.remove_site import remove_site
from tasks.grants import database_name
from tests.nodes.fleet import Fleet, change_nothing, fleet, saved, succeed
from tests.nodes.prepared import prepared

__all__ = ["fleet"]

NODES = ("web1", "web3")
SITE, PLATFORM = "drush.kinds.test", "kinds-drush"
TITLE = 'It\'s "$HOME" & more'
# Answers as a site that is installed does: with what is in its database.
INDEX = """<?php
require 'sites/' . $_SERVER['PACKMASTER_SITE'] . '/settings.php';
$db = $databases['default']['default'];
$server = new mysqli($db['host'], $db['username'], $db['password'], $db['database'], (int) $db['port']);
echo $server->query('SELECT name FROM users_field_data')->fetch_row()[0];
"""


@pytest.fixture
def codebase(tmp_path: Path) -> Path:
    """Laid out as composer does it: what is served is in `web`, and drush beside it."""
    (tmp_path / "web/sites/default").mkdir(parents=True)
    (tmp_path / "web/index.php").write_text(INDEX)
    (tmp_path / "vendor/bin").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("drush.php"), tmp_path / "vendor/bin/drush")
    return tmp_path


def notes_on(fleet: Fleet, name: str) -> list[dict[str, Any]]:
    """How drush was called on a node."""
    log = f"/var/aegir/sites/{SITE}/private/drush.log"
    return [json.loads(line) for line in fleet.execute(name, "cat", log, check=False).splitlines()]


def test_drupal_is_installed_once_by_drush(fleet: Fleet, bed: Any, codebase: Path) -> None:
    prepared(bed, *NODES)
    cluster = saved(Cluster(servers=list(NODES)), PLATFORM)
    source = {"source": str(codebase), "docroot": "web", "profile": "drupal"}
    succeed(create_platform, platform=PLATFORM, target=cluster, **source)
    wanted = {"uri": SITE, "platform": fleet.platform(PLATFORM), "database": fleet.database}
    (done,) = (o for o in succeed(add_site, **wanted, title=TITLE) if o.step == "install site")
    assert (done.changed, done.detail) == (True, "Drupal installed; its administrator is admin")
    assert fleet.bodies(SITE, names=NODES) == ["admin"] * 2

    notes = notes_on(fleet, done.host)
    assert [note["command"] for note in notes] == ["status", "site:install", "php:eval"]
    assert {note["user"] for note in notes} == {"www-data"}
    assert {note["options"]["uri"] for note in notes} == {SITE}
    given = notes[1]["options"]
    assert (given["sites-subdir"], given["site-name"], given["account-name"]) == (SITE, TITLE, "admin")
    assert given["account-mail"] == f"webmaster@{SITE}"
    assert [notes_on(fleet, name) for name in NODES if name != done.host] == [[]]

    site = fleet.site(SITE)
    database, administrator = (
        secret.get_secret_value() for secret in (site.database_password, site.admin_password)
    )
    for note in notes:
        assert "drush" in note["seen"]
        assert not any(secret in json.dumps(note) for secret in (database, administrator))
    table = fleet.sql(f"SELECT name, pass FROM `{database_name(SITE)}`.users_field_data")
    assert table.split() == ["admin", administrator]

    change_nothing(add_site, **wanted)
    assert [note["command"] for note in notes_on(fleet, done.host)[len(notes) :]] == ["status"]
    succeed(remove_site, site=site)
    succeed(remove_platform, platform=fleet.platform(PLATFORM))
