"""Real nodes for the tests: a bed of its own beside any demo, see docker/nodes."""

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from tests.nodes.bed_settings import choose_settings
from tests.nodes.databases import (  # noqa: F401 - fixtures
    database_server,
    database_servers,
    mariadb_server,
    mysql_server,
    replica,
    root_sql,
)
from tests.nodes.machines import breakable_pack, pack_bed  # noqa: F401 - fixtures
from tests.nodes.parts import (  # noqa: F401 - hooks
    pytest_collection_finish,
    pytest_collection_modifyitems,
)
from tests.nodes.prepared import prepared_pack  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parents[2]
NODES = ("web1", "web2", "web3", "web4")
SERVICES = (*NODES, "db")
KEEP = os.environ.get("PACKMASTER_KEEP", "") not in {"", "0"}

os.environ.update(choose_settings())
PROJECT = os.environ["PACKMASTER_PROJECT"]
NET = os.environ["PACKMASTER_NET"]
STATE = Path(os.environ["PACKMASTER_STATE"])


@dataclass(frozen=True)
class Bed:
    """The nodes that are up, and what it takes to log in to them.

    `addresses` and `host_keys` are by node name; a host key reads "ssh-ed25519 AAAA...", and was read
    through Docker, so a test that pins it pins something that did not come over the network.
    """

    addresses: dict[str, str]
    private_key: Path
    db_host: str
    db_port: int
    db_admin_user: str
    db_admin_password: str
    host_keys: dict[str, str]
    project: str
    controller: str
    """This machine's address as the nodes and the database see it."""


@dataclass(frozen=True)
class BareNode:
    """A server on which nothing is installed but sshd."""

    name: str
    address: str
    host_key: str
    private_key: Path


class DockerExec(Protocol):
    """Runs a command in a node, around SSH; gives its standard output."""

    def __call__(self, name: str, *argv: str, stdin: str | None = None, check: bool = True) -> str: ...


def run(*argv: str, stdin: str | None = None, check: bool = True) -> str:
    """Run a command to its end; when it fails, what it printed is the message."""
    done = subprocess.run(argv, input=stdin or "", capture_output=True, text=True, timeout=900, check=False)
    if check and done.returncode != 0:
        pytest.fail(
            f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}", pytrace=False
        )
    return done.stdout


def nodes(*argv: str) -> str:
    return run(str(ROOT / "docker" / "nodes"), *argv)


def host_keys() -> dict[str, str]:
    keys = {}
    for line in (STATE / "known_hosts").read_text().splitlines():
        names, kind, key = line.split()
        keys[names.split(",")[0]] = f"{kind} {key}"
    return keys


@pytest.fixture(scope="session")
def docker_compose_command() -> str:
    plugin = subprocess.run(("docker", "compose", "version"), capture_output=True, check=False)
    return "docker-compose" if plugin.returncode and shutil.which("docker-compose") else "docker compose"


@pytest.fixture(scope="session")
def docker_compose_file() -> list[str]:
    names = [f"compose{kind}.yaml" for kind in ("", ".bare", ".bench", ".databases", ".pack")]
    if os.environ["PACKMASTER_HTTP_BASE"]:
        names.append("compose.ports.yaml")
        first = int(os.environ["PACKMASTER_HTTP_BASE"])
        os.environ.update({f"PACKMASTER_HTTP_WEB{i}": str(first + i - 1) for i in range(1, 5)})
    return [str(ROOT / "docker" / name) for name in names]


@pytest.fixture(scope="session")
def docker_compose_project_name() -> str:
    return PROJECT


@pytest.fixture(scope="session")
def only_session() -> Iterator[None]:
    """Two sessions on one bed would pull the nodes away from under each other."""
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "tests.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail(
                f"another test session uses the nodes of {PROJECT}: wait for it, or set "
                "PACKMASTER_PROJECT and PACKMASTER_NET to have nodes of your own",
                pytrace=False,
            )
        yield


@pytest.fixture(scope="session")
def own_bed(only_session: None) -> Iterator[None]:
    """A bed that a killed session left behind is not as bare as the tests expect, so it goes first."""
    nodes("prepare")
    if not KEEP:
        remove_stack()
        remove_bed()
    yield
    if not KEEP:
        remove_bed()


@pytest.fixture(scope="session")
def docker_setup(own_bed: None) -> list[str]:
    return [f"up -d --no-build {' '.join(SERVICES)}"]


def remove_bed() -> None:
    """No node of the bed is left. Its network may be, and the next bed takes it as it is: Docker 20.10 was
    seen to count an endpoint whose container was gone, until the engine is started anew.
    """
    down = (str(ROOT / "docker" / "nodes"), "compose", "down", "--volumes", "--remove-orphans", "-t", "2")
    done = subprocess.run(down, capture_output=True, text=True, timeout=900, check=False)
    left = run("docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={PROJECT}")
    if done.returncode != 0 and (left or "has active endpoints" not in done.stderr):
        pytest.fail(f"{PROJECT} cannot be removed:\n{done.stdout}{done.stderr}", pytrace=False)


def remove_runs(project: str) -> None:
    """Containers that a worker of a docker pool started are no part of any Compose file."""
    filters = ("--filter", f"network={project}_bed", "--filter", "label=io.prefect.version")
    left = run("docker", "ps", "-aq", *filters).split()
    if left:
        run("docker", "rm", "--force", *left, check=False)


def remove_stack() -> None:
    """Workers that test_production.py left when it was killed would hold on to the bed's network."""
    remove_runs(PROJECT)
    left = run("docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={PROJECT}-stack").split()
    if left:
        run("docker", "rm", "--force", *left)


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    """Nothing: own_bed does it, and looks closer when Compose fails."""
    return []


@pytest.fixture(scope="session")
def bed(docker_services: object) -> Bed:
    """Four web nodes and a database, up and answering."""
    # A developer's kept bed may be as a failed test left it.
    nodes("wait", *SERVICES)
    keys = host_keys()
    return Bed(
        addresses={name: f"{NET}.{11 + i}" for i, name in enumerate(NODES)},
        private_key=STATE / "id_ed25519",
        db_host=f"{NET}.20",
        db_port=3306,
        db_admin_user="packmaster",
        db_admin_password=(STATE / "db_admin_password").read_text().strip(),
        host_keys={name: keys[name] for name in NODES},
        project=PROJECT,
        controller=f"{NET}.1",
    )


@pytest.fixture(scope="session")
def start_nodes(bed: Bed) -> Callable[..., None]:
    """Bring nodes up that not every session needs. They go with the bed."""

    def start_nodes(*names: str) -> None:
        nodes("up", *names)

    return start_nodes


@pytest.fixture
def bare(bed: Bed) -> Iterator[BareNode]:
    """A server fresh for this very test."""
    nodes("compose", "rm", "--stop", "--force", "bare1")
    nodes("up", "bare1")
    yield BareNode("bare1", f"{NET}.30", host_keys()["bare1"], bed.private_key)
    if not KEEP:
        nodes("compose", "rm", "--stop", "--force", "bare1")


@pytest.fixture(scope="session")
def docker_exec(bed: Bed) -> DockerExec:
    """Look at a node from outside, or break something in it, without the code that is tested."""

    def docker_exec(name: str, *argv: str, stdin: str | None = None, check: bool = True) -> str:
        return run("docker", "exec", "-i", f"{bed.project}-{name}", *argv, stdin=stdin, check=check)

    return docker_exec


@pytest.fixture
def docker_start(bed: Bed) -> Callable[[str], None]:
    """Start a node that was killed, and wait until it answers. It starts what is enabled, as at a boot."""

    def docker_start(name: str) -> None:
        run("docker", "start", f"{bed.project}-{name}")
        nodes("wait", name)

    return docker_start


@pytest.fixture
def docker_kill(bed: Bed, docker_start: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Pull a node's plug. The bed is shared, so it is back up after the test."""
    killed = set()

    def docker_kill(name: str) -> None:
        run("docker", "kill", f"{bed.project}-{name}")
        killed.add(name)

    yield docker_kill
    for name in killed:
        docker_start(name)


def pause(container: str) -> None:
    """The container's processes stand still; on a busy machine the kernel may need several attempts."""
    ends = time.monotonic() + 30
    while subprocess.run(["docker", "pause", container], capture_output=True, check=False).returncode != 0:
        if time.monotonic() > ends:
            run("docker", "pause", container)
            return
        time.sleep(1)


@pytest.fixture
def docker_unpause(bed: Bed) -> Callable[[str], None]:
    """Let a paused node go on. One that is not paused is left as it is."""

    def docker_unpause(name: str) -> None:
        run("docker", "unpause", f"{bed.project}-{name}", check=False)

    return docker_unpause


@pytest.fixture
def docker_pause(bed: Bed, docker_unpause: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """Make a node hang: connections to it are accepted, and nothing ever answers. Ends with the test."""
    paused = set()

    def docker_pause(name: str) -> None:
        pause(f"{bed.project}-{name}")
        paused.add(name)

    yield docker_pause
    for name in paused:
        docker_unpause(name)
