"""What of a node's mounts may be taken away by force."""

from __future__ import annotations

from tasks.failover.apply import find_replaced
from tests.liveness.scene import WATCHED, entry

MEMBER = WATCHED.members[-1]
OLD = "192.0.2.99"


def test_only_what_comes_from_the_server_that_was_replaced_is_forced() -> None:
    code, data = MEMBER.mounts
    dead = entry(data.point, source=f"{OLD}:/srv/packmaster/files/sites")
    other = entry(code.point, source="192.0.2.98:/srv/elsewhere")
    assert find_replaced(MEMBER, (dead, other), OLD) == [data]
    # What has other options than it should is alive, and somebody writes there.
    alive = entry(code.point, source=code.source)
    assert find_replaced(MEMBER, (alive, dead), OLD) == [data]
    assert find_replaced(MEMBER, (alive, dead), "") == []
    assert find_replaced(MEMBER, (), OLD) == []
    six = entry(data.point, source="[2001:db8::1]:/srv/sites")
    assert find_replaced(MEMBER, (six,), "2001:db8::1") == [data]
