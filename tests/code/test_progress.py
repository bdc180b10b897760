"""A long transfer is seen in the UI while it goes on, and a short one leaves nothing there."""

from typing import Any

import httpx
import pytest
from prefect import flow

from tasks import code
from tasks.code.release import ReleasePlan

PLAN = ReleasePlan("shop", "20260101000000-abc", "abc", (), 0)


def read(server: str, host: str) -> dict[str, Any] | None:
    answer = httpx.get(f"{server}/artifacts/stage-shop-{host}/latest", timeout=10)
    return dict(answer.json()) if answer.is_success else None


def test_it_is_published_as_it_goes_on(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "PROGRESS_SECONDS", 0.0)

    @flow
    def transferring() -> list[dict[str, Any] | None]:
        publish = code._publish_progress("web1", PLAN)
        seen = []
        for percent, sent in ((10, 1_000), (60, 6_000), (100, 10_000)):
            publish(percent, sent)
            seen.append(read(prefect_server, "web1"))
        return seen

    seen = [artifact for artifact in transferring() if artifact]
    assert [artifact["data"] for artifact in seen] == [10, 60, 100]
    assert len({artifact["id"] for artifact in seen}) == 1, "one for a host and platform, kept up to date"
    assert seen[1]["description"] == "web1: 6,000 bytes of 20260101000000-abc sent"


def test_a_short_one_is_not_worth_it(prefect_server: str) -> None:
    @flow
    def transferring() -> None:
        code._publish_progress("web2", PLAN)(100, 10)

    transferring()
    assert read(prefect_server, "web2") is None
