"""What a run of prepare-server is called, in a list of runs that a person reads."""

import pytest
from prefect.client.orchestration import get_client

from flows.prepare_server import NAMED, prepare_server

MANY = [f"prep-web{number}" for number in range(NAMED + 1)]


@pytest.mark.parametrize(
    ("servers", "name"),
    [
        (MANY[:1], "prepare prep-web0"),
        (MANY[:NAMED], "prepare prep-web0, prep-web1, prep-web2, prep-web3, prep-web4, prep-web5"),
        (MANY, "prepare 7 servers"),
    ],
    ids=["one", "a few", "many"],
)
def test_a_run_is_called_by_its_servers(prefect_server: str, servers: list[str], name: str) -> None:
    state = prepare_server(servers=servers, return_state=True)
    assert state.is_failed(), "none of them is registered"
    assert state.state_details.flow_run_id is not None
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(state.state_details.flow_run_id).name == name
