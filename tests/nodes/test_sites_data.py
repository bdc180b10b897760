"""A site's data, settings and links on a real node; a backup that loads, and removal."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks.errors import CommandFailed, PlanRefused
from tasks.fleet import Database
from tasks.grants.connection import open_admin
from tasks.sites.apply import create_data, link_site, remove_site_data, unlink_site, write_settings
from tasks.sites.backup import (
    VerifiedBackup,
    back_up_data,
    back_up_database,
    open_backup,
    seal_backup,
    verify_backup,
)
from tasks.sites.facts import read_site_facts
from tasks.sites.install import new_seed
from tasks.sites.plan import Site, plan_site
from tasks.sites.profiles import load_profile
from tasks.ssh import Ssh
from tests.nodes.site_on_node import database, node, site, ssh

if TYPE_CHECKING:
    from tests.nodes.conftest import Bed, DockerExec

__all__ = ["database", "node", "site", "ssh"]

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize("name", ["php", "wordpress", "drupal"])
def test_a_site_is_made_once_and_a_second_run_changes_nothing(ssh: Ssh, site: Site, name: str) -> None:
    profile, seed = load_profile(name), new_seed()
    ssh.run(["mkdir", "-p", site.docroot_in()])
    assert plan_site(site, profile, {"web1": read_site_facts(ssh, site, profile)}, seed)
    assert create_data(ssh, site, profile)
    assert write_settings(ssh, site, profile, seed) is bool(profile.settings)
    assert link_site(ssh, site, profile) is (profile.link is not None)
    facts = read_site_facts(ssh, site, profile)
    assert not plan_site(site, profile, {"web1": facts}, seed)
    assert facts.seed == (seed if profile.settings else None)
    assert not create_data(ssh, site, profile)
    assert not write_settings(ssh, site, profile, seed)
    assert not link_site(ssh, site, profile)
    assert unlink_site(ssh, site, profile) is (profile.link is not None)
    assert not unlink_site(ssh, site, profile)


def test_wrong_modes_and_settings_are_found_and_put_right(
    ssh: Ssh, site: Site, docker_exec: DockerExec
) -> None:
    profile, seed = load_profile("wordpress"), new_seed()
    create_data(ssh, site, profile)
    write_settings(ssh, site, profile, seed)
    docker_exec("web1", "chmod", "0777", f"{site.directory}/files")
    docker_exec("web1", "chmod", "0644", site.settings_path)
    plan = plan_site(site, profile, {"web1": read_site_facts(ssh, site, profile)}, seed)
    assert [step.kind for step in plan.steps] == ["create data", "write settings"]
    assert create_data(ssh, site, profile)
    assert write_settings(ssh, site, profile, seed)
    assert not plan_site(site, profile, {"web1": read_site_facts(ssh, site, profile)}, seed)


def test_settings_are_read_by_php_and_by_nobody_else(ssh: Ssh, site: Site, docker_exec: DockerExec) -> None:
    profile = load_profile("wordpress")
    create_data(ssh, site, profile)
    write_settings(ssh, site, profile, new_seed())
    as_user = ("web1", "setpriv", "--reuid", "www-data", "--regid", "www-data", "--clear-groups")
    assert "PACKMASTER_SEED" in docker_exec(*as_user, "cat", site.settings_path)
    docker_exec(*as_user, "sh", "-c", f"! rm -f {site.settings_path} && ! echo >>{site.settings_path}")
    nobody = ("web1", "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    docker_exec(*nobody, "sh", "-c", f"! cat {site.settings_path} && ! ls {site.directory}")


def test_a_link_in_place_of_the_data_directory_is_not_followed(
    ssh: Ssh, site: Site, docker_exec: DockerExec
) -> None:
    docker_exec(
        "web1",
        "sh",
        "-c",
        f"mkdir -p /srv/other && chown aegir /srv/other && ln -sfn /srv/other {site.directory}",
    )
    with pytest.raises(CommandFailed, match="is a link"):
        create_data(ssh, site, load_profile("php"))
    with pytest.raises(CommandFailed, match="is a link"):
        remove_site_data(ssh, site.uri, VerifiedBackup(site.uri, "x", ("web1",), 0, 0))
    docker_exec("web1", "test", "-d", "/srv/other")


def dump_by_client(docker_exec: DockerExec, name: str) -> str:
    words = "mariadb-dump --skip-comments --hex-blob --routines --events --order-by-primary --skip-dump-date"
    return docker_exec("db", *words.split(), name).replace(name, "NAME")


@pytest.fixture
def scratch(database: Database, docker_exec: DockerExec) -> Iterator[tuple[str, str]]:
    names = ("dump_from", "dump_to")
    with closing(open_admin(database)) as connection, connection.cursor() as cursor:
        for name in names:
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")
            cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        docker_exec("db", "mariadb", names[0], stdin=(ROOT / "tests/sites/awkward.sql").read_text())
        yield names
        for name in names:
            cursor.execute(f"DROP DATABASE {name}")


def test_a_dump_loads_into_the_same_database(
    database: Database, scratch: tuple[str, str], docker_exec: DockerExec, tmp_path: Path
) -> None:
    origin, copy = scratch
    part = back_up_database(database, origin, tmp_path)
    rows = {"big": 20000, "child": 2, "numbered": 2, "o`dd name": 2, "parted": 2}
    assert part.rows == rows | {"empty_one": 0, "parted_empty": 0}
    assert len(part.others) == 6
    seal_backup(tmp_path, "a.org", part, ())
    assert verify_backup(tmp_path, "a.org").rows == 20008
    sql = gzip.decompress((tmp_path / part.file).read_bytes()).decode()
    # Whatever character set the client was set to.
    docker_exec("db", "mariadb", "--default-character-set=latin1", copy, stdin=sql)
    assert dump_by_client(docker_exec, copy) == dump_by_client(docker_exec, origin)
    with closing(open_admin(database)) as connection, connection.cursor() as cursor:
        for name in scratch:
            cursor.execute(f"SELECT f * 1e0, `in``v` FROM {name}.`o``dd name` ORDER BY id")
            assert cursor.fetchall() == ((pytest.approx(0.1), 7), (16777215.0, 8))
        cursor.execute(f"SELECT * FROM {copy}.a_view")
        assert cursor.fetchall() == ((1, 2), (2, 4))


def test_a_site_is_removed_only_with_a_verified_backup_and_comes_back_from_it(
    ssh: Ssh, site: Site, docker_exec: DockerExec, tmp_path: Path, bed: Bed
) -> None:
    profile = load_profile("wordpress")
    create_data(ssh, site, profile)
    write_settings(ssh, site, profile, new_seed())
    as_php = ("web1", "setpriv", "--reuid", "www-data", "--regid", "www-data", "--clear-groups", "sh", "-c")
    docker_exec(
        *as_php,
        f"cd {site.directory}/files && umask 077 && mkdir -p 'a b/c' && head -c 40000000 /dev/urandom >big"
        " && printf x >'a b/c/new\nline' && ln -s /etc/passwd 'a b/link'",
    )
    docker_exec("web1", "mkdir", "-p", "/var/aegir/sites/sites.example.org.other")
    listing = (
        "web1",
        "sh",
        "-c",
        f"cd /var/aegir/sites/{site.uri} && find . -type f -exec sha256sum {{}} + | sort",
    )
    before = docker_exec(*listing)
    with pytest.raises(PlanRefused, match="is not in the verified backup"):
        remove_site_data(ssh, site.uri, VerifiedBackup(site.uri, "x", ("web2",), 0, 0))

    directory = open_backup(tmp_path, site.uri, NOW)
    part = back_up_data(ssh, site, directory)
    assert part.entries == 9
    seal_backup(directory, site.uri, None, (part,))
    proof = verify_backup(directory, site.uri)
    assert remove_site_data(ssh, site.uri, proof)
    docker_exec("web1", "test", "!", "-e", site.directory)
    docker_exec("web1", "test", "-e", "/var/aegir/sites/sites.example.org.other")
    docker_exec("web1", "test", "-e", "/etc/passwd")
    assert not remove_site_data(ssh, site.uri, proof)
    assert docker_exec("web1", "sh", "-c", "ls -A /var/aegir | grep backup- || true") == ""

    with (directory / part.file).open("rb") as archive:
        words = [
            "docker",
            "exec",
            "-i",
            f"{bed.project}-web1",
            "tar",
            "-C",
            "/var/aegir/sites",
            "-xzpf",
            "-",
        ]
        subprocess.run(words, stdin=archive, check=True)
    assert docker_exec(*listing) == before
    assert back_up_data(ssh, Site("nothing.example.org", "p"), directory).entries == 0
    docker_exec("web1", "rmdir", "/var/aegir/sites/sites.example.org.other")
