"""Sites on real nodes: data, settings, a real WordPress, a backup that loads, and removal."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from tasks.errors import CommandFailed, PlanRefused
from tasks.fleet import Database, Node
from tasks.grants.apply import apply_grants
from tasks.grants.connection import open_admin
from tasks.grants.facts import read_grant_facts
from tasks.grants.plan import plan_grants
from tasks.grants.values import Desired, RemovedAccess, SiteAccess, database_name, user_name
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
from tasks.sites.install import install_site, new_password, new_seed
from tasks.sites.plan import Credentials, Site, plan_site
from tasks.sites.profiles import BOOTSTRAP, load_profile, overlay_files
from tasks.sites.vhost import environment_for
from tasks.ssh import Ssh, connect

if TYPE_CHECKING:
    from conftest import Bed, DockerExec

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

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


@pytest.fixture
def wordpress(site: Site, ssh: Ssh, docker_exec: DockerExec, bed: Bed) -> Site:
    """The code of a WordPress site, as a release would bring it."""
    subprocess.run([ROOT / "docker" / "wordpress"], check=True, timeout=600)
    sources = Path(os.environ.get("PACKMASTER_HOME", ROOT / ".packmaster")) / "sources" / "wordpress"
    ssh.run(["mkdir", "-p", f"/var/aegir/platforms/{site.platform}"])
    subprocess.run(
        ["docker", "cp", "-q", str(sources), f"{bed.project}-web1:{site.docroot_in()}"], check=False
    )
    if not ssh.run(["test", "-e", f"{site.docroot_in()}/wp-load.php"], check=False).ok:
        subprocess.run(["docker", "cp", str(sources), f"{bed.project}-web1:{site.docroot_in()}"], check=True)
    for name, content in overlay_files(load_profile("wordpress")).items():
        target = f"{site.docroot_in()}/{name}"
        docker_exec(
            "web1", "sh", "-c", f"mkdir -p $(dirname {target}) && cat >{target}", stdin=content.decode()
        )
    docker_exec("web1", "sh", "-c", f"chown -R aegir:aegir {site.docroot_in()}")
    return site


PROBE = """<?php
$_SERVER['HTTP_HOST'] = $_SERVER['PROBE_HOST'];
require getcwd() . '/wp-load.php';
$uploads = wp_upload_dir(null, false);
echo json_encode([
    get_bloginfo('name'), home_url(), $uploads['basedir'], $uploads['baseurl'],
    wp_check_password($_SERVER['PROBE_PASSWORD'], get_user_by('login', 'admin')->user_pass),
    isset($_SERVER['DB_PASSWORD']) || getenv('DB_PASSWORD') !== false,
    wp_is_file_mod_allowed('test'),
]);
"""


def test_wordpress_is_installed_once_and_kept(
    ssh: Ssh, wordpress: Site, credentials: Credentials, database: Database
) -> None:
    site, profile, password = wordpress, load_profile("wordpress"), new_password()
    create_data(ssh, site, profile)
    write_settings(ssh, site, profile, new_seed())
    assert install_site(ssh, site, profile, credentials, password) == "installed"
    assert install_site(ssh, site, profile, credentials, new_password()) == "present"
    with closing(open_admin(database)) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT post_title FROM `{credentials.database}`.wp_posts WHERE post_type = 'post'")
        assert cursor.fetchall() == (("Hello world!",),)
        # As after a kill between the options and the first user: the next run goes on.
        cursor.execute(f"DELETE FROM `{credentials.database}`.wp_users")
        cursor.execute(
            f"DELETE FROM `{credentials.database}`.wp_options WHERE option_name = 'packmaster_installed'"
        )
    assert install_site(ssh, site, profile, credentials, password) == "installed"
    asked = f"{site.uri}:8081"
    assert ask_wordpress(ssh, site, credentials, password, asked) == [
        "Sites",
        f"http://{asked}",
        f"{site.directory}/files",
        f"http://{asked}/wp-content/uploads",
        True,
        False,
        False,
    ]
    assert ask_wordpress(ssh, site, credentials, password, "evil.org:80")[1] == f"http://{site.uri}"


def ask_wordpress(
    ssh: Ssh, site: Site, credentials: Credentials, password: SecretStr, host: str
) -> list[Any]:
    environment = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in environment_for(site, credentials)
    }
    environment |= {"PROBE_HOST": host, "PROBE_PASSWORD": password.get_secret_value()}
    job = {"environment": environment, "docroot": site.docroot_in(), "script": PROBE}
    command = ["php", "-r", BOOTSTRAP]
    return list(json.loads(ssh.run(command, stdin=json.dumps(job).encode(), as_user="www-data").text))


def test_an_installer_that_fails_says_why_without_any_secret(
    ssh: Ssh, wordpress: Site, credentials: Credentials
) -> None:
    profile = load_profile("wordpress")
    create_data(ssh, wordpress, profile)
    write_settings(ssh, wordpress, profile, new_seed())
    wrong = Credentials(
        credentials.host, credentials.port, credentials.database, credentials.user, new_password()
    )
    with pytest.raises(CommandFailed, match="WordPress installer failed") as failed:
        install_site(ssh, wordpress, profile, wrong, new_password())
    assert wrong.password.get_secret_value() not in str(failed.value)


def test_every_php_file_of_the_profiles_parses(docker_exec: DockerExec) -> None:
    scripts = [*(ROOT / "tasks/sites/profiles").glob("*/**/*.php")]
    assert len(scripts) == 7
    for script in scripts:
        assert "No syntax errors" in docker_exec("web1", "php", "-l", stdin=script.read_text())


def test_drupal_finds_its_site_and_database_from_the_vhost(
    ssh: Ssh, site: Site, docker_exec: DockerExec
) -> None:
    profile = load_profile("drupal")
    ssh.run(["mkdir", "-p", f"{site.docroot_in()}/sites"])
    create_data(ssh, site, profile)
    write_settings(ssh, site, profile, new_seed())
    link_site(ssh, site, profile)
    sites_php = overlay_files(profile)["sites/sites.php"].decode().removeprefix("<?php")
    probe = f"""
        $_SERVER['HTTP_HOST'] = 'Alias.example.org:8081';
        $_SERVER['PACKMASTER_SITE'] = '{site.uri}';
        foreach (['HOST', 'PORT', 'NAME', 'USER', 'PASSWORD'] as $name) {{
            $_SERVER["DB_$name"] = "the $name";
        }}
        require '{site.docroot_in()}/sites/{site.uri}/settings.php';
        {sites_php}
        $db = $databases['default']['default'];
        echo json_encode([$sites, $db['host'], $db['database'], $db['username'], $db['password'],
            $settings['file_public_path'], $settings['file_private_path'], strlen($settings['hash_salt'])]);
    """
    assert json.loads(ssh.run(["php", "-r", probe], as_user="www-data").text) == [
        {"8081.alias.example.org": site.uri},
        "the HOST",
        "the NAME",
        "the USER",
        "the PASSWORD",
        f"sites/{site.uri}/files",
        f"{site.directory}/private/files",
        64,
    ]


def test_drupal_without_drush_says_so(ssh: Ssh, site: Site, credentials: Credentials) -> None:
    ssh.run(["mkdir", "-p", site.docroot_in()])
    assert install_site(ssh, site, load_profile("drupal"), credentials, new_password()) == "manual"


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
    assert part.rows == {"big": 20000, "child": 2, "empty_one": 0, "numbered": 2, "o`dd name": 2}
    assert len(part.others) == 6
    seal_backup(tmp_path, "a.org", part, ())
    assert verify_backup(tmp_path, "a.org").rows == 20006
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
