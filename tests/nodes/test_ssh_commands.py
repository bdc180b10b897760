"""Commands, scripts and tunnels on a real node: what goes in, what comes out, and what is left running."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.errors import CommandFailed, Unreachable
from tasks.fleet import Node
from tasks.ssh import Ssh
from tests.nodes.ssh_node import Bed, DockerExec, count_processes, lasting, node, ssh, wait_until

__all__ = ["node", "ssh"]

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


def test_output_that_comes_after_the_end_of_a_silent_command_is_complete(ssh: Ssh) -> None:
    """What rsync says of a full disk comes from the other side, and may come after its status."""
    late = "sleep 1.5; (sleep 0.5; echo late >&2) & exit 11"
    result = ssh.run(["sh", "-c", late], check=False)
    assert (result.status, result.err) == (11, b"late\n")


def test_a_daemon_that_keeps_the_output_open_does_not_block(ssh: Ssh, docker_exec: DockerExec) -> None:
    with lasting(10):
        assert ssh.run_script("sleep 7531 & echo started").text == "started\n"
    docker_exec("web1", "pkill", "-f", "sleep 7531")


def test_a_command_over_its_time_is_killed_on_the_node(ssh: Ssh, docker_exec: DockerExec) -> None:
    with lasting(10), pytest.raises(Unreachable, match=r"`sleep 7532` did not finish in 1 s"):
        ssh.run(["sleep", "7532"], timeout=1)
    assert wait_until(lambda: count_processes(docker_exec, "sleep 7532") == 0, 20)
    with lasting(15), pytest.raises(Unreachable, match="did not finish in 1 s"):
        ssh.run_script("trap '' TERM; while :; do sleep 0.7533; done", timeout=1)
    assert wait_until(lambda: count_processes(docker_exec, "0.7533") == 0, 20)
    assert ssh.run(["true"]).ok


def test_a_time_of_less_than_a_second_is_a_bound_too(ssh: Ssh) -> None:
    """timeout(1) takes 0 for no limit at all."""
    with lasting(10), pytest.raises(Unreachable, match="did not finish"):
        ssh.run(["sleep", "60"], timeout=0.3)


def test_a_dead_controller_leaves_nothing_running(node: Node, docker_exec: DockerExec) -> None:
    connection = Ssh(node)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(connection.run, ["sleep", "7534"], timeout=4)
        assert wait_until(lambda: count_processes(docker_exec, "sleep 7534") > 0, 20)
        connection.close()
        with pytest.raises(Unreachable):
            running.result(10)
    assert wait_until(lambda: count_processes(docker_exec, "sleep 7534") == 0, 20)


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
