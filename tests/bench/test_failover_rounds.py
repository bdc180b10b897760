"""What the failover benchmark says of its rounds."""

from dataclasses import replace

from bench.failover_rounds import DETECTION, HEAD, Round, describe


def test_a_size_is_a_row_of_medians_beside_the_waits_that_nobody_can_do_without() -> None:
    quick = Round(fencing=1.0, remount=5.6 - DETECTION, first=6.6, last=13.2)
    slow = replace(quick, first=60.0, last=90.0)
    row = describe([quick, quick, slow], clients=3)
    assert row.endswith("| 6.6 | 6.6 (1.00) | 13.2 (2.00) |")
    assert row.startswith("| 3 |")
    assert {row.count("|")} == {line.count("|") for line in HEAD.splitlines()}
