"""A node as root, a connection to it of the test's own, and how long something may take."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from pydantic import SecretStr

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
