"""The bed is what the other tests believe it to be: bare nodes, pinned keys, a database for addresses."""

import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pymysql
import pytest

from tasks.fleet import Database
from tasks.grants.connection import open_admin
from tests.nodes.conftest import NODES, BareNode, Bed, DockerExec
from tests.nodes.databases import Replica, RootSql


def ssh(
    address: str, key: Path, host_key: str, tmp_path: Path, *argv: str
) -> subprocess.CompletedProcess[str]:
    known = tmp_path / "known_hosts"
    known.write_text(f"{address} {host_key}\n")
    options = [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        f"UserKnownHostsFile={known}",
        "ConnectTimeout=5",
    ]
    flags = [word for option in options for word in ("-o", option)]
    return subprocess.run(
        ["ssh", "-F", "none", *flags, "-i", str(key), f"root@{address}", *argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


PROBE = """#!/bin/sh
### BEGIN INIT INFO
# Provides: probe
# Required-Start:
# Required-Stop:
# Default-Start: 2 3 4 5
# Default-Stop: 0 1 6
### END INIT INFO
test "$1" = start && date >/srv/started
"""


def wait_until(holds: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.2)


def commands(docker_exec: DockerExec, name: str) -> set[str]:
    names = docker_exec(name, "sh", "-c", "cat /proc/[0-9]*/comm")
    return {line.strip() for line in names.splitlines()}


@pytest.mark.parametrize("name", NODES)
def test_root_logs_in_with_the_key_and_the_pinned_host_key(bed: Bed, name: str, tmp_path: Path) -> None:
    done = ssh(bed.addresses[name], bed.private_key, bed.host_keys[name], tmp_path, "hostname")
    assert done.stdout.strip() == name, done.stderr


def test_another_nodes_host_key_is_not_taken(bed: Bed, tmp_path: Path) -> None:
    done = ssh(bed.addresses["web1"], bed.private_key, bed.host_keys["web2"], tmp_path, "true")
    assert done.returncode == 255
    assert "verification failed" in done.stderr


def test_every_node_has_a_host_key_of_its_own(bed: Bed) -> None:
    assert len(set(bed.host_keys.values())) == len(NODES)


@pytest.mark.parametrize(
    ("name", "has", "lacks"),
    [
        ("web1", "apache2", "nginx"),
        ("web2", "apache2", "nginx"),
        ("web3", "nginx", "apache2"),
        ("web4", "nginx", "apache2"),
    ],
)
def test_a_node_has_the_packages_of_one_web_server(
    docker_exec: DockerExec, name: str, has: str, lacks: str
) -> None:
    installed = docker_exec(name, "dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\n")
    packages = {line.split()[1] for line in installed.splitlines() if line.startswith("ii")}
    assert {has, "php8.2-fpm", "php8.2-mysql", "rsync", "sudo"} <= packages
    assert lacks not in packages


def test_a_bare_node_has_sshd_and_nothing_else(
    bare: BareNode, docker_exec: DockerExec, tmp_path: Path
) -> None:
    done = ssh(bare.address, bare.private_key, bare.host_key, tmp_path, "hostname")
    assert done.stdout.strip() == bare.name, done.stderr
    for program in ("rsync", "sudo", "php", "apache2", "nginx"):
        assert docker_exec(bare.name, "sh", "-c", f"command -v {program}", check=False) == ""
    assert docker_exec(bare.name, "getent", "passwd", "aegir", check=False) == ""


def test_a_fresh_web_node_runs_sshd_alone_and_enables_nothing(bed: Bed, docker_exec: DockerExec) -> None:
    """On containers of their own, for other tests make the nodes of the bed ready."""
    for image in ("node-apache", "node-nginx"):
        name = f"{bed.project}-fresh"
        subprocess.run(["docker", "run", "--rm", "-d", "--name", name, f"packmaster/{image}"], check=True)
        try:
            wait_until(lambda: "sshd" in docker_exec("fresh", "cat", "/proc/1/comm"), "it did not boot")
            assert commands(docker_exec, "fresh") - {"sh", "cat"} == {"sshd"}
            enabled = docker_exec("fresh", "sh", "-c", "echo /etc/rc2.d/S*")
            assert not [word for word in ("apache", "nginx", "fpm") if word in enabled]
            assert docker_exec("fresh", "getent", "passwd", "aegir", check=False) == ""
        finally:
            subprocess.run(["docker", "rm", "-f", name], check=True, capture_output=True)


def test_a_node_that_lost_power_is_itself_again(
    bed: Bed, docker_kill: Callable[[str], None], docker_start: Callable[[str], None], tmp_path: Path
) -> None:
    docker_kill("web4")
    assert (
        ssh(bed.addresses["web4"], bed.private_key, bed.host_keys["web4"], tmp_path, "true").returncode == 255
    )
    docker_start("web4")
    done = ssh(bed.addresses["web4"], bed.private_key, bed.host_keys["web4"], tmp_path, "hostname")
    assert done.stdout.strip() == "web4", done.stderr


def test_what_is_installed_on_a_bare_node_starts_as_on_any_debian(
    bare: BareNode, docker_exec: DockerExec
) -> None:
    quiet = (
        "DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends nginx >/dev/null 2>&1"
    )
    docker_exec(bare.name, "sh", "-c", f"apt-get update -qq && {quiet}")
    assert "nginx" in commands(docker_exec, bare.name)


def test_a_boot_starts_what_is_enabled(bare: BareNode, docker_exec: DockerExec, bed: Bed) -> None:
    """Restart the node the way a server reboots: enabled services come up by themselves."""
    docker_exec(bare.name, "sh", "-c", "cat >/etc/init.d/probe && chmod +x /etc/init.d/probe", stdin=PROBE)
    docker_exec(bare.name, "update-rc.d", "probe", "defaults")
    subprocess.run(
        ["docker", "restart", "-t", "1", f"{bed.project}-{bare.name}"], check=True, capture_output=True
    )
    wait_until(
        lambda: docker_exec(bare.name, "cat", "/srv/started", check=False) != "",
        "the service was enabled and did not start",
    )


def test_the_database_knows_its_administrator_by_address(bed: Bed) -> None:
    with (
        pymysql.connect(
            host=bed.db_host, port=bed.db_port, user=bed.db_admin_user, password=bed.db_admin_password
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT CURRENT_USER(), @@skip_name_resolve, VERSION()")
        user, skips, version = cursor.fetchone() or ("", 0, "")
        cursor.execute("SELECT User, Host FROM mysql.user WHERE User = '' OR Host = '%'")
        loose = cursor.fetchall()
        cursor.execute("SHOW DATABASES LIKE 'test'")
        test = cursor.fetchall()
    assert user == f"packmaster@{bed.controller}"
    assert skips == 1
    assert version.startswith("10.11.")
    assert loose == ()
    assert test == ()


def test_the_database_password_shows_in_no_process(bed: Bed, docker_exec: DockerExec) -> None:
    seen = docker_exec("db", "sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'")
    assert bed.db_admin_password not in seen


def test_mysql_is_a_real_one_and_knows_its_administrator_by_address(
    bed: Bed, mysql_server: Database, root_sql: RootSql
) -> None:
    with closing(open_admin(mysql_server)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT CURRENT_USER(), @@skip_name_resolve, VERSION(), @@version_comment")
        user, skips, version, comment = cursor.fetchone() or ("", 0, "", "")
    assert (user, skips) == (f"packmaster@{bed.controller}", 1)
    assert int(version.partition(".")[0]) >= 9
    assert "MariaDB" not in version + comment
    # A role is a row at % too, locked: other tests may have made the one that marks accounts.
    loose = "SELECT User FROM mysql.user WHERE (User = '' OR Host = '%') AND account_locked = 'N'"
    assert root_sql("dbmysql", loose) == ""


def test_the_mysql_password_shows_in_no_process(
    bed: Bed, mysql_server: Database, docker_exec: DockerExec
) -> None:
    look = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ | tr '\\0' '\\n'; ls /run/mysqld"
    seen = docker_exec(mysql_server.name, "sh", "-c", look)
    assert bed.db_admin_password not in seen
    assert "setup.sql" not in seen


def test_a_replica_follows_and_takes_no_writes(replica: Replica, root_sql: RootSql) -> None:
    root_sql("db", "CREATE USER 'followed'@'10.9.9.9'")
    replica.catch_up()
    seen = "SELECT COUNT(*) FROM mysql.user WHERE User = 'followed'"
    assert root_sql("db2", seen).strip() == "1"
    root_sql("db", "DROP USER 'followed'@'10.9.9.9'")
    replica.catch_up()
    assert root_sql("db2", seen).strip() == "0"
    assert root_sql("db2", "SELECT @@read_only").strip() == "1"
