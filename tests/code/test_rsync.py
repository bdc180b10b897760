"""The command line holds no secret, and an exit status means what it should."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from tasks.code import rsync
from tasks.code.openssh import ssh_command
from tasks.code.rsync import build_command, explain_failure
from tasks.errors import AccessDenied, CommandFailed, PackmasterError, Unreachable
from tasks.fleet import Node
from tasks.result import Result

NODE = Node("w1", "192.0.2.1", "nginx", SecretStr("s3cret"), ("ssh-ed25519 AAAA",), port=2222)


@pytest.mark.parametrize(
    ("status", "said", "kind", "words"),
    [
        (255, "ssh: connect to host x port 22: Connection refused", Unreachable, "Connection refused"),
        (255, "Host key verification failed.", AccessDenied, "host key"),
        (255, "No ED25519 host key is known for node and you have requested", AccessDenied, "host key"),
        (255, "aegir@x: Permission denied (publickey).", AccessDenied, "login"),
        (12, "connection unexpectedly closed", Unreachable, "status 12"),
        (10, "", Unreachable, "no message"),
        (30, "timeout in data send/receive", Unreachable, "timeout"),
        (35, "", Unreachable, "status 35"),
        (11, "write failed on x: No space left on device (28)", CommandFailed, "disk is full"),
        (12, "write failed on x: No space left on device (28)", CommandFailed, "disk is full"),
        (11, "", CommandFailed, "writing on the node failed"),
        (23, "x", CommandFailed, "a part was not transferred"),
        (24, "x", CommandFailed, "vanished"),
        (25, "x", CommandFailed, "deletion limit"),
        (20, "", CommandFailed, "interrupted"),
        (12, "bash: line 1: rsync: command not found", CommandFailed, "run prepare-server"),
        (127, "", CommandFailed, "run prepare-server"),
        (1, "syntax", CommandFailed, "rsync failed"),
    ],
)
def test_exit_statuses(status: int, said: str, kind: type[PackmasterError], words: str) -> None:
    error = explain_failure(Result("w1", ("rsync",), status, b"", said.encode(), 1.0))
    assert type(error) is kind
    assert words in str(error)


def test_no_secret_and_no_deletion_in_the_command() -> None:
    ssh = ssh_command(NODE, key="/proc/1/fd/3", known_hosts="/proc/1/fd/4")
    argv = build_command(NODE, Path("/srv/code"), "/var/aegir/x", ssh)
    line = " ".join(argv)
    assert "s3cret" not in line
    assert "delete" not in line
    assert "-p 2222" in line
    assert argv[-2:] == ["/srv/code/", "aegir@192.0.2.1:/var/aegir/x/"]
    for needed in ("StrictHostKeyChecking=yes", "BatchMode=yes", "ConnectTimeout=10", "-F none"):
        assert needed in line


def test_ipv6_addresses_are_bracketed() -> None:
    six = Node("w1", "2001:db8::1", "nginx", SecretStr(""), ())
    assert build_command(six, Path("/s"), "/d", ["ssh"])[-1] == "aegir@[2001:db8::1]:/d/"


def test_progress_is_the_newest_complete_line() -> None:
    seen: list[tuple[int, int]] = []
    rsync._report(lambda *p: seen.append(p), b"\r  1000   5%    1.00MB/s    0:00:01 \r      2048  10%  9MB/s")
    rsync._report(lambda *p: seen.append(p), b"nothing")
    assert seen == [(10, 2048)]
