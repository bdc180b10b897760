"""The transport where a node is not who it should be, is not there, hangs, or goes away in the middle."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import paramiko
import pytest

from tasks import handshake
from tasks import ssh as transport
from tasks.errors import AccessDenied, Unreachable
from tasks.ssh import Ssh
from tests.nodes.ssh_node import Bed, DockerExec, count_processes, lasting, make_node, node, ssh, wait_until

__all__ = ["node", "ssh"]

OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


# Who is it?


def test_another_host_key_is_refused_and_nothing_is_sent(bed: Bed, docker_exec: DockerExec) -> None:
    docker_exec("web1", "rm", "-f", "/tmp/sent")
    with pytest.raises(AccessDenied, match=r"not the pinned one .*SHA256:.* was offered.*Nothing was sent"):
        Ssh(make_node(bed, "web1", host_keys=(OTHER_KEY,))).run(["touch", "/tmp/sent"])
    assert docker_exec("web1", "sh", "-c", "ls /tmp/sent 2>/dev/null || true") == ""


def test_another_nodes_key_is_another_key(bed: Bed) -> None:
    with pytest.raises(AccessDenied, match="not the pinned one"):
        Ssh(make_node(bed, "web1", host_keys=(bed.host_keys["web2"],))).run(["true"])


def test_without_a_pinned_key_there_is_no_login(bed: Bed) -> None:
    with pytest.raises(AccessDenied, match=r"no host key is pinned.*scan-host-keys"):
        Ssh(make_node(bed, "web1", host_keys=())).run(["true"])


def test_one_of_several_pins_is_enough_and_may_have_a_comment(bed: Bed) -> None:
    pins = (OTHER_KEY, bed.host_keys["web1"] + " root@web1")
    connection = Ssh(make_node(bed, "web1", host_keys=pins))
    assert connection.run(["true"]).ok
    connection.close()


def test_a_pin_that_is_no_key_refuses(bed: Bed) -> None:
    with pytest.raises(AccessDenied):
        Ssh(make_node(bed, "web1", host_keys=("nonsense",))).run(["true"])


def test_a_login_that_is_refused_says_which_and_what_to_do(bed: Bed) -> None:
    with pytest.raises(AccessDenied, match=r"the login nobody@.* was refused .*authorized_keys"):
        Ssh(make_node(bed, "web1", user="nobody")).run(["true"])


# Is it there?


def test_a_refused_port_is_unreachable_at_once(bed: Bed) -> None:
    with lasting(5), pytest.raises(Unreachable, match="refused"):
        Ssh(make_node(bed, "web1", port=2)).run(["true"])


def test_a_name_that_does_not_resolve_is_unreachable(bed: Bed) -> None:
    with lasting(60), pytest.raises(Unreachable, match=r"web1 cannot be reached: gone\.invalid:22"):
        Ssh(make_node(bed, "web1", address="gone.invalid")).run(["true"])


@contextmanager
def listener(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server of our own on a free port; `serve` gets each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                kept.append(connection)
                serve(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()


@pytest.mark.parametrize(
    "says",
    [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n" + b"\xff" * 500],
    ids=["nothing", "its banner only", "HTTP", "garbage"],
)
def test_a_server_that_accepts_and_never_talks_sense_is_unreachable(
    bed: Bed, monkeypatch: pytest.MonkeyPatch, says: bytes
) -> None:
    monkeypatch.setattr(handshake, "CONNECT_SECONDS", 2.0)
    with listener(lambda connection: connection.sendall(says)) as port:
        node = make_node(bed, "web1", address="127.0.0.1", port=port)
        with lasting(10), pytest.raises(Unreachable, match="no SSH handshake on 127"):
            Ssh(node).run(["true"])


def test_a_server_that_hangs_up_is_unreachable(bed: Bed) -> None:
    with listener(lambda connection: connection.close()) as port:
        node = make_node(bed, "web1", address="127.0.0.1", port=port)
        with lasting(15), pytest.raises(Unreachable, match="no SSH handshake on 127"):
            Ssh(node).run(["true"])


def test_a_failed_login_leaves_no_thread_and_no_socket(bed: Bed) -> None:
    def threads() -> int:
        return sum(isinstance(thread, paramiko.Transport) for thread in threading.enumerate())

    before = threads()
    for _ in range(5):
        with pytest.raises(AccessDenied):
            Ssh(make_node(bed, "web1", user="nobody")).run(["true"])
    assert wait_until(lambda: threads() <= before, 20)


def test_a_connection_that_drops_mid_command_is_unreachable_and_the_next_call_works(
    ssh: Ssh, docker_exec: DockerExec
) -> None:
    assert ssh.run(["true"]).ok
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ssh.run, ["sleep", "20"])
        assert wait_until(lambda: count_processes(docker_exec, "^sleep 20$") > 0, 20)
        # The session's own sshd, not the one that listens.
        docker_exec("web1", "pkill", "-KILL", "-f", "sshd: root@notty")
        with lasting(5), pytest.raises(Unreachable, match="web1 cannot be reached"):
            running.result(10)
    assert ssh.run(["true"]).ok


def test_a_connection_lost_between_commands_is_made_again(ssh: Ssh, docker_exec: DockerExec) -> None:
    assert ssh.run(["true"]).ok
    docker_exec("web1", "pkill", "-KILL", "-f", "sshd: root@notty")
    assert wait_until(lambda: ssh._transport is None or not ssh._transport.is_active(), 20)
    assert ssh.run(["true"]).ok


def test_a_node_that_loses_power_is_unreachable_and_is_found_again(
    bed: Bed, docker_kill: Callable[[str], None], docker_start: Callable[[str], None]
) -> None:
    connection = Ssh(make_node(bed, "web2"))
    assert connection.run(["true"]).ok
    docker_kill("web2")
    with lasting(40), pytest.raises(Unreachable):
        connection.run(["true"])
    docker_start("web2")
    assert connection.run(["true"]).ok
    connection.close()


def test_a_node_that_hangs_fails_within_the_bound(
    bed: Bed,
    docker_pause: Callable[[str], None],
    docker_unpause: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handshake, "CONNECT_SECONDS", 2.0)
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 2.0)
    monkeypatch.setattr(transport, "GRACE_SECONDS", 1.0)
    open_already = Ssh(make_node(bed, "web3"))
    assert open_already.run(["true"]).ok
    docker_pause("web3")
    with lasting(15), pytest.raises(Unreachable):
        open_already.run(["true"], timeout=1)
    with lasting(15), pytest.raises(Unreachable):
        Ssh(make_node(bed, "web3")).run(["true"], timeout=1)
    docker_unpause("web3")
    assert open_already.run(["true"]).ok
    open_already.close()


def test_a_node_that_hangs_during_a_command_fails_within_the_bound(
    bed: Bed, docker_pause: Callable[[str], None], docker_exec: DockerExec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "GRACE_SECONDS", 1.0)
    connection = Ssh(make_node(bed, "web3"))
    assert connection.run(["true"]).ok
    with ThreadPoolExecutor(1) as pool, lasting(20):
        running = pool.submit(connection.run, ["sleep", "60"], timeout=5)
        docker_exec("web3", "sh", "-c", "until pgrep -f '^sleep 60$'; do sleep 0.1; done")
        docker_pause("web3")
        with pytest.raises(Unreachable, match="no answer within 8 s"):
            running.result(20)
