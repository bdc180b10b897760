"""What a run says while it goes on."""

from __future__ import annotations

import time

import pytest

SECONDS = 60


def wait_for_log(caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Some run of this process has said so."""
    ends = time.monotonic() + SECONDS
    while not any(text in record.getMessage() for record in caplog.records):
        assert time.monotonic() < ends, [record.getMessage() for record in caplog.records]
        time.sleep(0.05)
