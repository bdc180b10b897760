"""prepare-server where packages are missing: beside another apt, and on a server with nothing at all."""

from typing import Any

import pytest
from pydantic import SecretStr

from tasks.errors import CommandFailed, Unreachable
from tasks.fleet import Node
from tasks.servers import prepare
from tasks.servers.apply import apply_plan
from tasks.servers.plan import ServerPlan
from tasks.servers.steps import InstallPackages
from tests.nodes.test_servers import Exec, plan_of, ready

__all__ = ["ready"]


def test_apt_waits_for_another_apt(ready: tuple[Node, ...], docker_exec: Exec) -> None:
    hold = (
        "open F, '>>', '/var/lib/apt/lists/lock'; my $lock = pack('s s l! l! i', 1, 0, 0, 0, 0); "
        "fcntl(F, 6, $lock) or die $!; sleep 4; unlink '/tmp/held'"
    )
    docker_exec("web1", "sh", "-c", 'touch /tmp/held; perl -e "$0" >/dev/null 2>&1 &', hold)
    apply_plan(ready[0], ServerPlan("web1", (InstallPackages(("rsync",)),)))
    assert "held" not in docker_exec("web1", "ls", "/tmp")


@pytest.mark.timeout(900)
def test_a_server_on_which_nothing_is_installed(bare: Any, docker_exec: Exec) -> None:
    """apt is killed in the middle first; from the half-installed server to a ready one, and then nothing."""
    node = Node(bare.name, bare.address, "nginx", SecretStr(bare.private_key.read_text()), (bare.host_key,))
    policy = docker_exec("bare1", "cat", "/usr/sbin/policy-rc.d")
    first = plan_of(node)
    assert isinstance(first.steps[0], InstallPackages)
    kill_during_install(node, first, docker_exec)
    # As if apt had not come to it: what php-common needs, so that it cannot be configured.
    docker_exec("bare1", "dpkg", "--purge", "--force-depends", "psmisc", check=False)
    assert prepare(node).changed
    assert not prepare(node).changed
    # As if somebody had made room by force: apt installs nothing while what others need is not there.
    docker_exec("bare1", "dpkg", "--purge", "--force-depends", "psmisc", "rsync")
    assert prepare(node).changed
    assert not prepare(node).changed
    assert docker_exec("bare1", "cat", "/usr/sbin/policy-rc.d") == policy


def kill_during_install(node: Node, plan: ServerPlan, docker_exec: Exec) -> None:
    """Run apt as the step does, and kill -9 all of it while packages are unpacked."""
    docker_exec(
        "bare1",
        "sh",
        "-c",
        "( until ls /var/lib/dpkg/info/php*-common.list; do sleep 0.1; done; "
        "for process in $(grep -l '[i]nstall_packages.sh' /proc/[0-9]*/cmdline); do "
        "process=${process#/proc/}; kill -9 ${process%/cmdline}; done; "
        "kill -9 $(pidof apt-get dpkg) ) >/dev/null 2>&1 &",
    )
    with pytest.raises((CommandFailed, Unreachable)):
        apply_plan(node, plan)
    assert "# packmaster:" in docker_exec("bare1", "cat", "/usr/sbin/policy-rc.d")


@pytest.mark.timeout(900)
def test_no_package_is_removed_for_another(bare: Any, docker_exec: Exec) -> None:
    """sudo and sudo-ldap exclude each other, and whoever logs in by the directory needs theirs."""
    node = Node(bare.name, bare.address, "nginx", SecretStr(bare.private_key.read_text()), (bare.host_key,))
    docker_exec(
        "bare1", "sh", "-c", "apt-get -q update && apt-get -q -y --no-install-recommends install sudo-ldap"
    )
    with pytest.raises(CommandFailed, match=r"(?s)will be REMOVED:\n *sudo-ldap") as failed:
        apply_plan(node, ServerPlan("bare1", (InstallPackages(("sudo",)),)))
    assert "remove is disabled" in str(failed.value)
    assert (
        docker_exec("bare1", "dpkg-query", "--show", "--showformat", "${db:Status-Status}", "sudo-ldap")
        == "installed"
    )
