"""prepare-server on real nodes: made ready, nothing done twice, hands off where it would hurt."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tasks.errors import AccessDenied, CommandFailed, PlanRefused
from tasks.fleet import Node, ServerKind
from tasks.servers import desired_server, plan_server, prepare
from tasks.servers.apply import apply_plan
from tasks.servers.facts import read_facts
from tasks.servers.managed import APACHE_CONF, NGINX_CONF, sudo_rules
from tasks.servers.plan import ServerPlan
from tasks.servers.state import PHP, WEB_SERVICE
from tasks.servers.steps import WriteFile
from tasks.ssh import connect, disconnect_all
from tests.nodes.prepared import KINDS, node_of

Exec = Callable[..., str]
NAMES = tuple(KINDS)
LEFT_BY_OTHERS = "/var/aegir/platforms/* /var/aegir/sites/* /var/aegir/config/*"


def plan_of(node: Node, **ids: int) -> ServerPlan:
    desired = desired_server(node, **ids)
    return plan_server(desired, read_facts(node, desired))


def look_at(docker_exec: Exec, name: str) -> str:
    """Everything on a node that preparing could change: files with owner, mode and time, and who runs."""
    return docker_exec(
        name,
        "sh",
        "-c",
        "find /etc /var/aegir /usr/local /run/php /usr/sbin -printf '%p %u %g %m %T@ %l\\n' | sort;"
        "cat /run/*.pid /run/*/*.pid 2>/dev/null",
    )


@pytest.fixture(scope="session")
def ready(bed: Any, docker_exec: Exec) -> tuple[Node, ...]:
    """The nodes as prepare-server leaves them, also where tests of platforms and sites had the bed before."""
    nodes = tuple(node_of(bed, name) for name in NAMES)
    for node in nodes:
        docker_exec(node.name, "sh", "-c", f"rm -rf {LEFT_BY_OTHERS}")
        prepare(node)
    return nodes


@pytest.fixture
def put_back(docker_exec: Exec) -> Iterator[Callable[[str, str], None]]:
    """Register a shell command that undoes what the test did to a node."""
    undo: list[tuple[str, str]] = []
    yield lambda name, command: undo.append((name, command))
    for name, command in reversed(undo):
        docker_exec(name, "sh", "-c", command)


@pytest.mark.parametrize("name", NAMES)
def test_a_ready_node_is_left_exactly_as_it_is(ready: tuple[Node, ...], docker_exec: Exec, name: str) -> None:
    node = ready[NAMES.index(name)]
    before = look_at(docker_exec, name)
    outcome = prepare(node)
    assert not outcome.changed
    assert outcome.detail == "was ready"
    assert look_at(docker_exec, name) == before


@pytest.mark.parametrize("name", NAMES)
def test_the_platform_user_has_its_ids_and_exactly_these_sudo_rules(
    ready: tuple[Node, ...], name: str
) -> None:
    node = ready[NAMES.index(name)]
    ssh = connect(node)
    assert ssh.run(["id"]).text.split()[:2] == ["uid=5000(aegir)", "gid=5000(aegir)"]
    assert "www-data" in ssh.run(["id", "-Gn"]).text.split()
    listed = ssh.run(["sudo", "-n", "-l"]).text.split("may run the following commands")[1]
    rules = {line.strip() for line in listed.splitlines()[1:]}
    asked = {f"(root) NOPASSWD: {rule}".replace(PHP, "8.2") for rule in sudo_rules(node.kind)}
    assert rules == asked | {"(www-data) NOPASSWD: ALL"}
    for forbidden in (
        ["true"],
        ["/usr/local/sbin/packmaster-test-config", "x"],
        ["/usr/sbin/service", "ssh", "stop"],
        ["/usr/bin/systemctl", "stop", "ssh"],
    ):
        assert not ssh.run(["sudo", "-n", *forbidden], check=False).ok


@pytest.mark.parametrize("name", NAMES)
def test_the_staged_configuration_is_tested_and_the_live_one_is_not(
    ready: tuple[Node, ...], name: str
) -> None:
    ssh = connect(ready[NAMES.index(name)])
    test = ["sudo", "-n", "/usr/local/sbin/packmaster-test-config"]
    script = (
        'cd /var/aegir/config && mkdir -p generations/bad && printf "%s" "$1" >generations/bad/x.conf '
        "&& ln -sfn generations/bad staged"
    )
    try:
        ssh.run_script(script, "NoSuchDirective {\n")
        said = ssh.run(test, check=False)
        assert not said.ok
        assert "nosuchdirective" in (said.text + said.error_text).lower()
        ssh.run(["rm", "/var/aegir/config/generations/bad/x.conf"])
        assert ssh.run(test).ok
    finally:
        ssh.run_script("cd /var/aegir/config && rm -rf generations/bad staged")


@pytest.mark.parametrize("name", ["web1", "web3"])
def test_php_runs_as_www_data_behind_a_socket_that_others_cannot_use(
    ready: tuple[Node, ...], docker_exec: Exec, name: str
) -> None:
    assert (
        docker_exec(name, "stat", "-c", "%U:%G %a", "/run/php/packmaster.sock") == "www-data:www-data 660\n"
    )
    said = docker_exec(name, "sh", "-c", "php-fpm8.2 -tt 2>&1 | sed -n '/\\[packmaster\\]/,$p'")
    for setting in ("user = www-data", "clear_env = yes", "listen.mode = 0660", "pm = ondemand"):
        assert setting in said


@pytest.mark.parametrize("name", ["web2", "web4"])
def test_after_a_restart_everything_runs_again(
    bed: Any, ready: tuple[Node, ...], docker_kill: Callable[[str], None], docker_start: Any, name: str
) -> None:
    node = ready[NAMES.index(name)]
    docker_kill(name)
    docker_start(name)
    disconnect_all()
    desired = desired_server(node)
    facts = read_facts(node, desired)
    assert facts.service(WEB_SERVICE[node.kind]).running
    assert facts.service("php8.2-fpm").running
    assert not plan_server(desired, facts)


def test_what_somebody_changed_is_put_back(ready: tuple[Node, ...], docker_exec: Exec) -> None:
    node = ready[0]
    docker_exec(
        "web1",
        "sh",
        "-c",
        "a2dismod -q -f headers; echo '# mine' >>/etc/sudoers.d/packmaster; service php8.2-fpm stop; "
        "chmod 0777 /var/aegir/config; printf 'ssh-rsa AAAAother me' >/var/aegir/.ssh/authorized_keys; "
        "rm /usr/local/sbin/packmaster-test-config; update-rc.d apache2 disable",
    )
    disconnect_all()
    assert len(plan_of(node).steps) == 8
    assert prepare(node).changed
    assert not prepare(node).changed
    keys = docker_exec("web1", "cat", "/var/aegir/.ssh/authorized_keys").splitlines()
    assert keys[0] == "ssh-rsa AAAAother me"
    assert len(keys) == 2


@pytest.mark.parametrize("name", ["web1", "web3"])
def test_ids_that_clash_are_refused_untouched(
    ready: tuple[Node, ...], docker_exec: Exec, put_back: Callable[[str, str], None], name: str
) -> None:
    node = ready[NAMES.index(name)]
    docker_exec(name, "useradd", "-u", "6000", "bob")
    put_back(name, "userdel bob")
    before = look_at(docker_exec, name)
    with pytest.raises(PlanRefused, match=r"has UID 5000 and GID 5000, and 6001 and 6001 are asked for"):
        prepare(node, uid=6001, gid=6001)
    with pytest.raises(PlanRefused, match="usermod"):
        prepare(node, uid=6000, gid=5000)
    assert look_at(docker_exec, name) == before


BREAKING = {
    "web1": (
        "echo 'NoSuchDirective' >/etc/apache2/conf-enabled/zz.conf",
        "rm /etc/apache2/conf-enabled/zz.conf",
    ),
    "web3": (
        "cp -p /etc/nginx/nginx.conf /root/kept && echo 'http { }' >>/etc/nginx/nginx.conf",
        "cp -p /root/kept /etc/nginx/nginx.conf",
    ),
}


@pytest.mark.parametrize("name", list(BREAKING))
def test_a_broken_configuration_is_refused_untouched(
    ready: tuple[Node, ...], docker_exec: Exec, put_back: Callable[[str, str], None], name: str
) -> None:
    broken, repaired = BREAKING[name]
    docker_exec(name, "sh", "-c", broken)
    put_back(name, repaired)
    before = look_at(docker_exec, name)
    with pytest.raises(PlanRefused, match=r"broken already.*Nothing was touched"):
        prepare(ready[NAMES.index(name)])
    assert look_at(docker_exec, name) == before


@pytest.mark.parametrize(("name", "kind"), [("web1", "nginx"), ("web3", "apache")])
def test_the_other_web_server_on_the_port_is_refused(
    ready: tuple[Node, ...],
    docker_exec: Exec,
    put_back: Callable[[str, str], None],
    name: str,
    kind: ServerKind,
) -> None:
    if name == "web3":
        # nginx listens nowhere before it has a site.
        site = "echo 'server { listen 80; }' >/etc/nginx/conf.d/x.conf && nginx -s reload"
        docker_exec(name, "bash", "-c", f"{site}; until (: </dev/tcp/127.0.0.1/80); do sleep 0.1; done")
        put_back(name, "rm /etc/nginx/conf.d/x.conf && nginx -s reload")
    holder = {"web1": "apache2", "web3": "nginx"}[name]
    with pytest.raises(PlanRefused, match=f"port 80 is taken by {holder}, and the inventory says {kind}"):
        prepare(replace(ready[NAMES.index(name)], kind=kind))


@pytest.mark.parametrize(("name", "service"), [("web1", "apache2"), ("web3", "nginx")])
def test_a_file_that_its_service_does_not_accept_is_taken_back(
    ready: tuple[Node, ...], docker_exec: Exec, name: str, service: str
) -> None:
    path = APACHE_CONF if service == "apache2" else NGINX_CONF
    php = "/etc/php/8.2/fpm/pool.d/packmaster.conf"
    bad = ServerPlan(name, ())
    node = ready[NAMES.index(name)]
    for step in (
        WriteFile(path, "nonsense {", 0o644, service),
        WriteFile(
            php, "[packmaster]\nlisten = nonsense with spaces\nuser = nobody-here\n", 0o644, "php8.2-fpm"
        ),
        WriteFile("/etc/sudoers.d/packmaster", "aegir ALL=(nonsense\n", 0o440, "sudoers"),
    ):
        before = docker_exec(name, "sha256sum", step.path)
        with pytest.raises(CommandFailed, match=f"file {step.path} .*failed"):
            apply_plan(node, replace(bad, steps=(step,)))
        assert docker_exec(name, "sha256sum", step.path) == before
    left = docker_exec(name, "find", "/etc", "-name", "*.packmaster.*")
    assert left == ""
    prepare(node)


def test_a_login_that_may_sudo_is_enough(
    bed: Any, ready: tuple[Node, ...], docker_exec: Exec, put_back: Callable[[str, str], None]
) -> None:
    docker_exec(
        "web2",
        "sh",
        "-c",
        "useradd -m -s /bin/sh -p '*' ops; install -d -o ops -m 0700 /home/ops/.ssh; "
        "install -o ops -m 0600 /root/.ssh/authorized_keys /home/ops/.ssh/authorized_keys; "
        "chmod 0777 /var/aegir/sites",
    )
    put_back("web2", "rm -f /etc/sudoers.d/ops; userdel -r ops 2>/dev/null")
    node = replace(node_of(bed, "web2"), admin_user="ops")
    with pytest.raises(CommandFailed, match="the login ops has to be root, or be allowed everything by sudo"):
        prepare(node)
    docker_exec("web2", "sh", "-c", "echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops")
    assert prepare(node).changed
    assert not prepare(node).changed


def test_a_wrong_key_is_refused(bed: Any, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    other = SecretStr((tmp_path / "key").read_text())
    with pytest.raises(AccessDenied, match=r"root@.*was refused"):
        prepare(replace(node_of(bed, "web1"), private_key=other))
