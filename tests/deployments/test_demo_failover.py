"""The failover of the demo where there is nothing to fail over."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.demo_failover import run_failover
from deployments.demo_services import Services
from tasks.errors import PackmasterError


@pytest.mark.parametrize("path", [None, "/nowhere"], ids=["no such container", "no docker"])
def test_without_a_pack_it_says_so_and_starts_nothing(
    path: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.demo_failover.container_of", lambda name: f"packmaster-none-{name}")
    if path is not None:
        monkeypatch.setenv("PATH", path)
    state = tmp_path / "demo"
    with pytest.raises(PackmasterError, match=r"packmaster-none-nfs1.*is not running: `make demo` first"):
        run_failover(Services(state, port=1), "192.0.2")
    assert not state.exists()
