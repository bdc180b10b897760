"""The flow prepare-server on real nodes: a dry run touches nothing, one server does not stop the others."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from prefect.client.schemas.objects import State

from blocks import SshCredentials, WebServer
from flows.prepare_server import prepare_server
from tasks.errors import HostsFailed, PlanRefused
from tasks.outcome import Outcomes
from tests.nodes.prepared import KINDS, node_of, prepared

Exec = Callable[..., str]
SITES = "/var/aegir/sites"


@pytest.fixture(scope="module")
def servers(bed: Any, prefect_server: str) -> dict[str, str]:
    """All four nodes, registered; gives their block names."""
    prepared(bed)
    names = {}
    for name, kind in KINDS.items():
        node = node_of(bed, name)
        credentials = SshCredentials(username="aegir", admin_username="root", private_key=node.private_key)
        credentials.save("prepare-key", overwrite=True)
        names[name] = f"prepare-{name}"
        WebServer(
            address=node.address,
            kind=kind,
            credentials=SshCredentials.load("prepare-key"),
            host_keys=list(node.host_keys),
        ).save(names[name], overwrite=True)
    return names


def run(**parameters: Any) -> dict[str, dict[str, str]]:
    """Run the flow; gives step -> host -> result."""
    state: State[Outcomes] = prepare_server(return_state=True, **parameters)
    try:
        outcomes = state.result()
    except HostsFailed as failed:
        outcomes = failed.outcomes
    assert isinstance(outcomes, Outcomes)
    table: dict[str, dict[str, str]] = {}
    for outcome in outcomes:
        table.setdefault(outcome.step, {})[outcome.host] = outcome.verdict
    return table


def test_a_dry_run_shows_the_plan_and_touches_nothing(
    servers: dict[str, str], docker_exec: Exec, prefect_server: str
) -> None:
    docker_exec("web1", "chmod", "0777", SITES)
    assert run(servers=[servers["web1"]], dry_run=True) == {}
    assert docker_exec("web1", "stat", "-c", "%a", SITES) == "777\n"
    artifact = httpx.get(f"{prefect_server}/artifacts/plan-prepare-server/latest", timeout=10).json()
    assert f"directory {SITES} aegir:aegir 0711" in artifact["data"]

    assert run(servers=[servers["web1"]])["prepare server"] == {"prepare-web1": "changed"}
    assert docker_exec("web1", "stat", "-c", "%a", SITES) == "711\n"


def test_a_second_run_changes_nothing_anywhere(servers: dict[str, str]) -> None:
    table = run(servers=list(servers.values()))
    everywhere = dict.fromkeys(servers.values(), "unchanged")
    assert table == {"prepare server": everywhere, "verify server": everywhere}


def test_an_unreachable_and_a_refused_server_are_named_and_the_others_prepared(
    servers: dict[str, str], docker_exec: Exec
) -> None:
    unreachable = WebServer.load(servers["web4"])
    unreachable.ssh_port = 1
    unreachable.save("prepare-unreachable", overwrite=True)
    docker_exec("web2", "chmod", "0777", SITES)
    docker_exec("web1", "sh", "-c", "echo NoSuchDirective >/etc/apache2/conf-enabled/zz.conf")
    try:
        table = run(servers=["prepare-unreachable", *(servers[name] for name in ("web1", "web2", "web3"))])
    finally:
        docker_exec("web1", "rm", "/etc/apache2/conf-enabled/zz.conf")
    assert table["read server"] == {"prepare-unreachable": "failed"}
    assert table["plan server"] == {"prepare-web1": "failed"}
    assert table["prepare server"] == {"prepare-web2": "changed", "prepare-web3": "unchanged"}
    assert table["verify server"] == {"prepare-web2": "unchanged", "prepare-web3": "unchanged"}


def test_when_no_server_can_be_planned_for_nothing_else_is_tried(
    servers: dict[str, str], docker_exec: Exec
) -> None:
    docker_exec("web3", "sh", "-c", "echo 'no such thing;' >/etc/nginx/conf.d/x.conf")
    try:
        assert run(servers=[servers["web3"]]) == {"plan server": {"prepare-web3": "failed"}}
    finally:
        docker_exec("web3", "rm", "/etc/nginx/conf.d/x.conf")


@pytest.mark.parametrize(
    ("names", "message"),
    [(["prepare-web1", "prepare-web1"], "listed twice"), (["no-such-server"], "not registered")],
)
def test_a_wrong_list_is_refused_before_anything_is_read(
    servers: dict[str, str], names: list[str], message: str
) -> None:
    with pytest.raises(PlanRefused, match=message):
        prepare_server(servers=names)
