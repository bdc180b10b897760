"""The bed's servers as an operator registers them, flows run on them, and what one sees afterwards."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from blocks import Cluster, DatabaseServer, Platform, Site, SshCredentials, WebServer, site_block_name
from flows.locks import lock_name
from tasks.fleet import Database, Node
from tasks.outcome import Outcomes
from tests.nodes.databases import least_privileged
from tests.nodes.prepared import KINDS, node_of

ROOT = Path(__file__).resolve().parents[2]
HTTP_SECONDS = 30
# What changes without anybody having done anything is left out: access times, what PHP caches, and what nodes
# do a little after a switch: spare copies are made of releases, and pruned ones go.
SNAPSHOT = r"""
find /var/aegir /etc/apache2 /etc/nginx /etc/php /etc/sudoers.d /usr/local/sbin \
    \( -name '.spare-*' -o -name '.making-*' -o -name '.trash-*' -o -name '.lock-*' \) -prune \
    -o -type d \( -name releases -o -name manifests \) -printf '%p|%y|%m|%u:%g|%l\n' \
    -o -printf '%p|%y|%m|%u:%g|%s|%T@|%l\n' 2>/dev/null | cat -v | sort
"""
GRANTS = (
    "SELECT User, Host FROM mysql.user ORDER BY 1, 2; SELECT Db, User, Host FROM mysql.db ORDER BY 1, 2, 3"
)


@dataclass(frozen=True)
class Answer:
    status: int
    body: str
    location: str


@dataclass(frozen=True)
class Fleet:
    """web1 ... web4 as the cluster `flows-web`, and the database `flows-db`."""

    nodes: tuple[Node, ...]
    cluster: Cluster
    database: DatabaseServer
    credentials: SshCredentials
    secrets: tuple[str, ...]
    home: Path
    api: httpx.Client
    execute: Callable[..., str]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.nodes)

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    def get(self, name: str, host: str, path: str = "/", posted: bytes | None = None) -> Answer:
        """What a visitor gets who reaches one node only."""
        connection = http.client.HTTPConnection(self.node(name).address, 80, timeout=HTTP_SECONDS)
        try:
            headers = {"Host": host, "Content-Type": "text/xml"}
            connection.request("POST" if posted else "GET", path, posted, headers)
            response = connection.getresponse()
            body = response.read().decode("utf-8", "replace")
            return Answer(response.status, body, response.getheader("Location") or "")
        finally:
            connection.close()

    def bodies(self, host: str, path: str = "/", names: tuple[str, ...] = ()) -> list[str]:
        """What each node answers with 200; any other status fails."""
        answers = {name: self.get(name, host, path) for name in names or self.names}
        bad = {name: a for name, a in answers.items() if a.status != 200}
        assert not bad, bad
        return [answer.body for answer in answers.values()]

    @contextmanager
    def untouched(self) -> Iterator[None]:
        """What happens inside changes nothing of ours on any node, and no grant."""
        before = self._look()
        yield
        after = self._look()
        changed = {name: sorted(before[name] ^ after[name]) for name in before if before[name] != after[name]}
        assert not changed, changed

    def _look(self) -> dict[str, frozenset[str]]:
        seen = {name: self.execute(name, "sh", "-c", SNAPSHOT) for name in self.names}
        return {
            name: frozenset(text.splitlines()) for name, text in (seen | {"db": self.sql(GRANTS)}).items()
        }

    def sql(self, statement: str) -> str:
        return self.execute("db", "mariadb", "-N", stdin=statement)

    def artifact(self, key: str) -> dict[str, Any]:
        """The latest artifact of a key, as another system reads it."""
        answer = self.api.get(f"/artifacts/{key}/latest")
        assert answer.status_code == 200, f"no artifact {key}"
        found: dict[str, Any] = answer.json()
        return found

    def table(self, key: str) -> list[dict[str, str]]:
        """The rows of the latest table artifact of a key."""
        rows: list[dict[str, str]] = json.loads(self.artifact(key)["data"])
        return rows

    def lines(self, key: str) -> list[str]:
        """The same, as a person reads them."""
        return [" ".join(row.values()) for row in self.table(key)]

    def listing(self, what: str, **body: Any) -> Iterator[dict[str, Any]]:
        """Everything that the server's filter of `what` gives, page by page."""
        offset = 0
        while page := self.api.post(f"/{what}/filter", json={"offset": offset, "limit": 200, **body}).json():
            yield from page
            offset += len(page)

    def events(self, kind: str, resource: str) -> list[dict[str, Any]]:
        """Events of one kind about one resource; they are recorded with a delay, so ask again."""
        wanted = {"event": {"name": [kind]}, "resource": {"id": [resource]}}
        answer = self.api.post("/events/filter", json={"filter": wanted, "limit": 50})
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["events"]
        return found

    def release_locks(self, *databases: str) -> None:
        """What LEASE_SECONDS of waiting would do, for the tests that are about something else."""
        bury_runs(self.api)
        names = [lock_name("server", name) for name in self.names]
        names += [lock_name("database", name) for name in (self.database.name, *databases)]
        for name in names:
            free_lock(self.api, name)

    def platform(self, name: str) -> Platform:
        return Platform.get(name, "a test")

    def site(self, uri: str) -> Site:
        return Site.get(site_block_name(uri), "a test")

    def current(self, name: str, platform: str) -> str:
        """The release that is current on a node, or nothing."""
        return self.execute(
            name, "readlink", f"/var/aegir/platforms/{platform}/current", check=False
        ).strip().removeprefix("releases/")  # fmt: skip


def register(bed: Any, execute: Callable[..., str], home: Path, api: str) -> Fleet:
    """Save the bed as blocks, as `packmaster inventory apply` does; to be repeated at will."""
    key = Path(bed.private_key).read_text(encoding="utf-8")
    credentials = saved(SshCredentials(private_key=SecretStr(key)), "flows-key")
    nodes = tuple(node_of(bed, name) for name in KINDS)
    for node in nodes:
        server = WebServer(
            address=node.address, kind=node.kind, credentials=credentials, host_keys=list(node.host_keys)
        )
        saved(server, node.name)
    # What every flow does here, it does with the rights of `packmaster grants setup-sql`.
    all_rights = Database("db", bed.db_host, bed.db_admin_user, SecretStr(bed.db_admin_password), bed.db_port)
    account = least_privileged(all_rights, bed.controller)
    database = DatabaseServer(
        host=account.host,
        port=account.port,
        admin_user=account.admin_user,
        admin_password=account.admin_password,
    )
    return Fleet(
        nodes,
        saved(Cluster(servers=list(KINDS)), "flows-web"),
        saved(database, "flows-db"),
        credentials,
        (key.splitlines()[1], account.admin_password.get_secret_value()),
        home,
        open_api(api),
        execute,
    )


def open_api(url: str) -> httpx.Client:
    """A client of a Prefect server's API that uses no connection twice.

    A server closes connections that were idle for some seconds, sometimes just when one is used again.
    """
    return httpx.Client(base_url=url, timeout=60, limits=httpx.Limits(max_keepalive_connections=0))


def saved(block: Any, name: str) -> Any:
    """The block as everybody gets it who asks for it by name."""
    block.save(name, overwrite=True)
    return type(block).load(name)


@pytest.fixture(scope="session")
def fleet(
    bed: Any, docker_exec: Any, prefect_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """The bed, registered; the worker's files are in a directory of this session."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PACKMASTER_HOME", str(home))
        patch.delenv("PACKMASTER_BACKUPS", raising=False)
        yield register(bed, docker_exec, home, prefect_server)


def bury_runs(api: httpx.Client) -> None:
    """Say of every killed run what its worker would have said of it; a busy server is asked again."""
    dead = {"state": {"type": "CRASHED", "message": "killed by a test"}, "force": True}
    running = {"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}

    def bury() -> bool:
        found = api.post("/flow_runs/filter", json=running)
        return found.is_success and all(
            api.post(f"/flow_runs/{run['id']}/set_state", json=dead).is_success for run in found.json()
        )

    wait_until(bury, 120)


def free_lock(api: httpx.Client, name: str) -> None:
    """The lock is nobody's, and is not there any more; a busy server is asked again."""
    gone = {httpx.codes.NO_CONTENT, httpx.codes.NOT_FOUND}
    wait_until(lambda: api.delete(f"/v2/concurrency_limits/{name}").status_code in gone, 120)


def outcome_of(state: Any) -> Outcomes:
    """What a run that went well did; fails with its message when it did not."""
    assert state.is_completed(), state.message
    outcomes = state.result(raise_on_failure=False)
    assert isinstance(outcomes, Outcomes)
    return outcomes


def succeed(flow: Any, **parameters: Any) -> Outcomes:
    """Run a flow that must do its work."""
    return outcome_of(flow(**parameters, return_state=True))


def change_nothing(flow: Any, **parameters: Any) -> Outcomes:
    """Run a flow that must find everything as it should be, and say so."""
    state = flow(**parameters, return_state=True)
    outcomes = outcome_of(state)
    assert not outcomes.changed, [str(outcome) for outcome in outcomes.changed]
    assert state.message.startswith("Nothing changed"), state.message
    return outcomes


def fail(flow: Any, **parameters: Any) -> str:
    """Run a flow that must fail; what it told the operator."""
    try:
        state = flow(**parameters, return_state=True)
    except Exception as refused:
        return str(refused)
    assert state.is_failed(), f"{state.name}: {state.message}"
    return str(state.message)


def wait_on(fleet: Fleet, name: str, condition: str, seconds: int = 180) -> None:
    """Return as soon as a shell condition holds on a node; looked at there, 50 times a second."""
    script = f"until {condition}; do sleep 0.02; done"
    fleet.execute(name, "timeout", str(seconds), "sh", "-c", script)


def wait_until(is_so: Callable[[], Any], seconds: float = 120) -> Any:
    """What `is_so` finally says that is true; fails when it never does."""
    ends = time.monotonic() + seconds
    while not (answer := is_so()):
        if time.monotonic() > ends:
            pytest.fail(f"it did not become so within {seconds} s")
        time.sleep(0.25)
    return answer
