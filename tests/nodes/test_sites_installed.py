"""Applications on a real node: a real WordPress is installed once, and Drupal finds what it needs."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from tasks.errors import CommandFailed
from tasks.fleet import Database
from tasks.grants.connection import open_admin
from tasks.sites.apply import create_data, link_site, write_settings
from tasks.sites.install import install_site, new_password, new_seed
from tasks.sites.plan import Credentials, Site
from tasks.sites.profiles import BOOTSTRAP, load_profile, overlay_files
from tasks.sites.vhost import environment_for
from tasks.ssh import Ssh
from tests.nodes.site_on_node import credentials, database, node, site, ssh

if TYPE_CHECKING:
    from tests.nodes.conftest import Bed, DockerExec

__all__ = ["credentials", "database", "node", "site", "ssh"]

ROOT = Path(__file__).resolve().parents[2]


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
