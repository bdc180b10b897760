"""What a task run costs, from measured runs."""

import pytest

from bench.loopback import list_addresses
from bench.overhead import Run, render, weigh

RUNS = [
    *(Run(4, 8, seconds, cpu=1.0, memory_kb=900) for seconds in (0.9, 1.0, 9.0)),
    Run(4, 8, 2.0, cpu=1.08, memory_kb=1300, body=1.08, server_mb=250, behind=1.5),
    Run(16, 32, 1.0, cpu=1.0, memory_kb=1000),
    Run(16, 32, 4.0, cpu=2.0, memory_kb=6000, body=2.0, server_mb=260, behind=7.0),
    Run(64, 128, 1.0, cpu=1.0, memory_kb=1000),
]


def test_what_a_task_run_adds_is_its_share_of_the_difference() -> None:
    cost = weigh(RUNS)[0]
    assert (cost.hosts, cost.tasks, cost.bare, cost.flow) == (4, 8, 1.0, 2.0)
    assert cost.task_ms == pytest.approx(10.0)
    assert cost.task_cpu_ms == pytest.approx(10.0)
    assert cost.task_kb == pytest.approx(50.0)
    assert cost.around == pytest.approx(0.92)
    assert (cost.server_mb, cost.behind, cost.missed) == (250, 1.5, ())


def test_what_was_measured_one_way_only_has_no_cost() -> None:
    assert [cost.hosts for cost in weigh(RUNS)] == [4, 16]


def test_a_goal_that_is_missed_is_named_with_its_figure() -> None:
    text = render(weigh(RUNS))
    assert (
        "- 16 hosts: MISSED: 31.2 ms a task run (goal: under 15), 156.2 KB a task run (goal: under 100), "
        in text
    )
    assert "7.0 s behind (goal: under 5)" in text
    assert "4 hosts: MISSED" not in text
    assert "every goal is met" in render(weigh(RUNS)[:1])


def test_the_table_is_rectangular() -> None:
    widths = {line.count("|") for line in render(weigh(RUNS)).splitlines() if line.startswith("|")}
    assert widths == {11}


def test_no_address_is_there_twice_and_all_are_loopback() -> None:
    addresses = list_addresses(1000)
    assert len(set(addresses)) == 1000
    assert addresses[0] == "127.0.1.1"
    assert addresses[-1] == "127.0.4.250"
    assert all(address.startswith("127.0.") for address in addresses)
