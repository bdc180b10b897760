"""The transport against real nodes, and against what a network does to them."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import paramiko
import pytest
from pydantic import SecretStr

from tasks import handshake
from tasks import ssh as transport
from tasks.errors import AccessDenied, CommandFailed, Unreachable
from tasks.fleet import Node
from tasks.ssh import Ssh


class Bed(Protocol):
    """What these tests need to know about the nodes."""

    addresses: dict[str, str]
    host_keys: dict[str, str]
    private_key: Path
    db_host: str
    db_port: int


DockerExec = Callable[..., str]
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
AWKWARD = [
    "",
    " ",
    "two words",
    "it's",
    'a "quote"',
    "new\nline",
    "tab\t",
    "$(touch /tmp/injected)",
    "`touch /tmp/injected`",
    "; touch /tmp/injected",
    "&& touch /tmp/injected",
    "$HOME",
    "*",
    "~",
    "\\",
    "-n",
    "--",
    "!history",
    "ünï",
    "a=b",
    "'",
    "\r",
]


@pytest.fixture
def node(bed: Bed) -> Node:
    return make_node(bed, "web1")


def make_node(bed: Bed, name: str, **fields: object) -> Node:
    values: dict[str, object] = {"address": bed.addresses[name], "host_keys": (bed.host_keys[name],)}
    key = SecretStr(bed.private_key.read_text())
    named = {"user": "root"} | values | fields
    return Node(name=name, kind="apache", private_key=key, **named)  # type: ignore[arg-type]  # fields by name


@pytest.fixture
def ssh(node: Node) -> Iterator[Ssh]:
    connection = Ssh(node)
    yield connection
    connection.close()


@contextmanager
def lasting(at_most: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < at_most


def count_processes(docker_exec: DockerExec, pattern: str) -> int:
    return len(docker_exec("web1", "pgrep", "-f", pattern, check=False).split())


def wait_until(is_so: Callable[[], bool], seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > ends:
            return False
        time.sleep(0.1)
    return True


# Commands


def test_a_command_gives_status_output_and_errors(ssh: Ssh) -> None:
    result = ssh.run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (result.status, result.out, result.err) == (3, b"out\n", b"err\n")
    assert result.host == "web1"
    with pytest.raises(CommandFailed, match="it went wrong: on web1, `sh -c 'exit 3'` exited with 3"):
        ssh.run(["sh", "-c", "exit 3"], meaning="it went wrong")


def test_a_command_that_is_not_there_fails_as_a_command(ssh: Ssh) -> None:
    assert ssh.run(["no-such-command"], check=False).status == 127


def test_a_command_that_a_signal_ends_is_a_failed_command(ssh: Ssh) -> None:
    assert ssh.run(["sh", "-c", "kill -TERM $$"], check=False).status != 0
    # 124 and 137 are also what timeout(1) says, but only when the time is over.
    assert ssh.run(["sh", "-c", "exit 124"], check=False).status == 124
    assert ssh.run(["sh", "-c", "kill -KILL $$"], check=False).status == 137


def test_messages_are_in_english_whatever_the_node_speaks(ssh: Ssh) -> None:
    assert ssh.run(["sh", "-c", 'echo "$LC_ALL"']).text == "C\n"


def test_arguments_arrive_as_they_are(ssh: Ssh, docker_exec: DockerExec) -> None:
    docker_exec("web1", "rm", "-f", "/tmp/injected")
    printed = ssh.run(["printf", "%s\\0", *AWKWARD]).text
    assert printed.split("\0")[:-1] == AWKWARD
    printed = ssh.run_script('printf "%s\\0" "$@"', *AWKWARD).text
    assert printed.split("\0")[:-1] == AWKWARD
    printed = ssh.run(["printf", "%s\\0", *AWKWARD], as_user="www-data").text
    assert printed.split("\0")[:-1] == AWKWARD
    assert docker_exec("web1", "sh", "-c", "ls /tmp/injected 2>/dev/null || true") == ""


def test_a_script_ends_at_its_first_error_and_unset_variable(ssh: Ssh) -> None:
    with pytest.raises(CommandFailed):
        ssh.run_script("false; echo went on")
    with pytest.raises(CommandFailed, match="parameter not set"):
        ssh.run_script('echo "$1"')


def test_a_command_may_run_as_another_user(ssh: Ssh) -> None:
    assert ssh.run(["id", "-un"], as_user="www-data").text == "www-data\n"


def test_thirty_megabytes_go_in_and_come_out(ssh: Ssh) -> None:
    data = bytes(range(256)) * (30 * 4096)
    result = ssh.run(["tee", "/dev/stderr"], stdin=data)
    assert len(data) == 30 * 1024 * 1024
    assert result.out == data
    assert result.err == data


def test_input_that_nobody_reads_does_not_block(ssh: Ssh) -> None:
    with lasting(10):
        assert ssh.run(["true"], stdin=b"x" * 10_000_000).status == 0


def test_output_before_a_quick_end_is_complete(ssh: Ssh) -> None:
    for _ in range(20):
        assert len(ssh.run(["head", "-c", "300000", "/dev/zero"]).out) == 300000


def test_a_daemon_that_keeps_the_output_open_does_not_block(ssh: Ssh, docker_exec: DockerExec) -> None:
    with lasting(10):
        assert ssh.run_script("sleep 7531 & echo started").text == "started\n"
    docker_exec("web1", "pkill", "-f", "sleep 7531")


def test_a_command_over_its_time_is_killed_on_the_node(ssh: Ssh, docker_exec: DockerExec) -> None:
    with lasting(10), pytest.raises(Unreachable, match=r"`sleep 7532` did not finish in 1 s"):
        ssh.run(["sleep", "7532"], timeout=1)
    assert wait_until(lambda: count_processes(docker_exec, "sleep 7532") == 0, 5)
    with lasting(15), pytest.raises(Unreachable, match="did not finish in 1 s"):
        ssh.run_script("trap '' TERM; while :; do sleep 0.7533; done", timeout=1)
    assert wait_until(lambda: count_processes(docker_exec, "0.7533") == 0, 5)
    assert ssh.run(["true"]).ok


def test_a_time_of_less_than_a_second_is_a_bound_too(ssh: Ssh) -> None:
    """timeout(1) takes 0 for no limit at all."""
    with lasting(10), pytest.raises(Unreachable, match="did not finish"):
        ssh.run(["sleep", "60"], timeout=0.3)


def test_a_dead_controller_leaves_nothing_running(node: Node, docker_exec: DockerExec) -> None:
    connection = Ssh(node)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(connection.run, ["sleep", "7534"], timeout=4)
        assert wait_until(lambda: count_processes(docker_exec, "sleep 7534") > 0, 5)
        connection.close()
        with pytest.raises(Unreachable):
            running.result(10)
    assert wait_until(lambda: count_processes(docker_exec, "sleep 7534") == 0, 10)


def test_sixteen_threads_share_one_connection(ssh: Ssh, docker_exec: DockerExec) -> None:
    def work(number: int) -> str:
        return ssh.run_script('sleep 0.2; printf "%s " "$1"; cat', str(number), stdin=b"x" * 100_000).text

    with lasting(60), ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(work, range(64)))
    assert answers == [f"{number} " + "x" * 100_000 for number in range(64)]


def test_all_of_it_is_one_login(node: Node, docker_exec: DockerExec) -> None:
    connection = Ssh(node)
    with ThreadPoolExecutor(16) as pool:
        ports = set(pool.map(lambda _: connection.run_script('echo "$SSH_CONNECTION"').text, range(32)))
    connection.close()
    assert len(ports) == 1


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
    assert wait_until(lambda: threads() <= before, 5)


def test_a_connection_that_drops_mid_command_is_unreachable_and_the_next_call_works(
    ssh: Ssh, docker_exec: DockerExec
) -> None:
    assert ssh.run(["true"]).ok
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ssh.run, ["sleep", "20"])
        assert wait_until(lambda: count_processes(docker_exec, "^sleep 20$") > 0, 5)
        # The session's own sshd, not the one that listens.
        docker_exec("web1", "pkill", "-KILL", "-f", "sshd: root@notty")
        with lasting(5), pytest.raises(Unreachable, match="web1 cannot be reached"):
            running.result(10)
    assert ssh.run(["true"]).ok


def test_a_connection_lost_between_commands_is_made_again(ssh: Ssh, docker_exec: DockerExec) -> None:
    assert ssh.run(["true"]).ok
    docker_exec("web1", "pkill", "-KILL", "-f", "sshd: root@notty")
    assert wait_until(lambda: ssh._transport is None or not ssh._transport.is_active(), 5)
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
    bed: Bed, docker_pause: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "GRACE_SECONDS", 1.0)
    connection = Ssh(make_node(bed, "web3"))
    assert connection.run(["true"]).ok
    with ThreadPoolExecutor(1) as pool, lasting(20):
        running = pool.submit(connection.run, ["sleep", "60"], timeout=3)
        time.sleep(1)
        docker_pause("web3")
        with pytest.raises(Unreachable, match="no answer within 6 s"):
            running.result(20)


# Tunnels


def test_a_tunnel_reaches_what_the_node_reaches(ssh: Ssh, bed: Bed) -> None:
    channel = ssh.open_tunnel(bed.db_host, bed.db_port)
    greeting = channel.recv(200)
    channel.close()
    assert b"MariaDB" in greeting


def test_a_tunnel_to_a_closed_port_is_unreachable(ssh: Ssh, bed: Bed) -> None:
    with lasting(15), pytest.raises(Unreachable, match=rf"{bed.db_host}:1 cannot be reached: .*from web1"):
        ssh.open_tunnel(bed.db_host, 1)
    assert ssh.run(["true"]).ok
