"""The time line has what happened in its order, however late each was heard of."""

from __future__ import annotations

from datetime import timedelta

import pytest
from prefect import flow

from flows.timeline import Timeline
from tasks.outcome import Outcome

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_each_node_has_the_time_at_which_it_served() -> None:
    @flow
    def run() -> Timeline:
        line = Timeline("files")
        line.mark("promoted", line.began + timedelta(seconds=5))
        moved = Outcome("slave1", "move", detail="works from nfs2; php8.2-fpm was stopped for 7.0 s")
        line.add(moved, line.began + timedelta(seconds=12))
        line.add(Outcome("master1", "move", error="no answer"), line.began + timedelta(seconds=9))
        return line

    rows = [(row["after"], row["what"]) for row in run().rows]
    assert rows == [
        ("5.0", "promoted"),
        ("9.0", "master1: NOT: no answer"),
        ("12.0", "slave1: works from nfs2; php8.2-fpm was stopped for 7.0 s"),
    ]
