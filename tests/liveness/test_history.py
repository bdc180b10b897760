"""Three samples raise, two clear, and others are told once: also of what follows from something else."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tasks.liveness.history import (
    Row,
    Sign,
    Watch,
    find_changes,
    find_warning,
    judge,
    parse_rows,
    summarise,
)
from tasks.liveness.values import Verdict, Watched
from tasks.liveness.verdicts import Finding
from tests.liveness.scene import EXTERNAL, WATCHED

T0 = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
SERVER, SLAVE = ("nfs1", "server"), ("slave1", "/var/aegir/sites")
V = Verdict
verdicts = st.sampled_from([v for v in Verdict if v is not V.FAILING_OVER])


def follow(
    *samples: dict[tuple[str, str], Verdict],
    start: Watch | None = None,
    watched: Watched = WATCHED,
    every: float = 3.0,
    begin: float = 0.0,
) -> list[Watch]:
    """What is held to be so after each of the samples."""
    states, watch = [], start or Watch()
    for number, each in enumerate(samples):
        found = {key: Finding(verdict, f"{verdict} seen") for key, verdict in each.items()}
        watch = judge(watch, found, T0 + timedelta(seconds=begin + every * number), watched)
        states.append(watch)
    return states


def of_slave(
    *seen: Verdict, start: Watch | None = None, watched: Watched = WATCHED, begin: float = 0
) -> list[Verdict]:
    states = follow(*({SERVER: V.OK, SLAVE: v} for v in seen), start=start, watched=watched, begin=begin)
    return [state.rows[SLAVE].verdict for state in states]


def test_a_disk_that_begins_to_fill_up_is_told_of_once() -> None:
    roomy, full = (Watch({SERVER: Row(V.OK, T0, said)}) for said in ("90% free", "WARNING: 2% free"))
    assert find_warning(Watch(), roomy) == ""
    assert find_warning(roomy, full) == find_warning(Watch(), full) == "WARNING: 2% free"
    assert find_warning(full, full) == find_warning(full, roomy) == ""
    # It is told of in the table that the next run reads, too.
    assert find_warning(parse_rows(full.as_rows()), full) == ""


def test_three_raise_and_two_clear() -> None:
    seen = (V.OK, V.HUNG, V.HUNG, V.HUNG, V.HUNG, V.OK, V.OK)
    assert of_slave(*seen) == [V.OK, V.OK, V.OK, V.HUNG, V.HUNG, V.HUNG, V.OK]


def test_a_blip_is_nothing() -> None:
    assert set(of_slave(V.HUNG, V.HUNG, V.OK, V.HUNG, V.HUNG, V.OK)) == {V.OK}


def test_one_good_answer_clears_nothing() -> None:
    raised = follow(*[{SLAVE: V.STALE}] * 3)[-1]
    assert of_slave(V.OK, V.STALE, V.OK, V.STALE, start=raised) == [V.STALE] * 4


def test_different_troubles_are_trouble() -> None:
    """While a server goes down, its client may be denied, stale and hung in turn; the last one counts."""
    assert of_slave(V.DENIED, V.STALE, V.HUNG)[-1] is V.HUNG


def test_one_trouble_becomes_another_only_when_that_one_stays() -> None:
    raised = follow(*[{SLAVE: V.HUNG}] * 3)[-1]
    assert of_slave(V.STALE, V.HUNG, V.STALE, V.STALE, V.STALE, start=raised)[-2:] == [V.HUNG, V.STALE]


def test_since_is_when_it_was_seen_first() -> None:
    states = follow(*[{SLAVE: V.HUNG}] * 5)
    assert states[-1].rows[SLAVE].since == T0
    assert states[1].rows[SLAVE].sign == Sign(V.HUNG, 2, T0)


def test_a_run_goes_on_until_it_is_settled() -> None:
    states = follow({SLAVE: V.OK}, *[{SLAVE: V.HUNG}] * 4, *[{SLAVE: V.OK}] * 2)
    assert [state.settled for state in states] == [True, False, False, True, True, False, True]


def test_a_change_is_told_once() -> None:
    down: dict[tuple[str, str], Verdict] = {SERVER: V.OK, SLAVE: V.STALE}
    states = [Watch(), *follow(*[down] * 10)]
    told = [find_changes(a, b) for a, b in pairwise(states)]
    assert [len(changes) for changes in told] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert str(told[2][0]) == "slave1 /var/aegir/sites: OK -> STALE (STALE seen)"


def test_what_follows_from_the_server_is_told_as_the_servers() -> None:
    down = {SERVER: V.HUNG, SLAVE: V.HUNG}
    before = follow({SERVER: V.OK, SLAVE: V.OK})[-1]
    after = follow(*[down] * 3, start=before, begin=60)[-1]
    assert after.rows[SLAVE].because == "nfs1"
    assert [(c.machine, c.now) for c in find_changes(before, after)] == [("nfs1", V.HUNG)]
    # It is back, and its client needs some seconds more: one event says so, and none the rest.
    back = follow(*[{SERVER: V.OK, SLAVE: V.HUNG}] * 3, start=after, begin=120)[-1]
    assert [(c.machine, c.now) for c in find_changes(after, back)] == [("nfs1", V.OK)]
    well = follow(*[{SERVER: V.OK, SLAVE: V.OK}] * 2, start=back, begin=180)[-1]
    assert find_changes(back, well) == ()
    assert well.unhealthy == ()


def test_a_client_that_does_not_come_back_is_told_of_in_the_end() -> None:
    down = {SERVER: V.HUNG, SLAVE: V.HUNG}
    after = follow(*[down] * 3)[-1]
    back = follow(*[{SERVER: V.OK, SLAVE: V.HUNG}] * 3, start=after, begin=60)[-1]
    late = follow({SERVER: V.OK, SLAVE: V.HUNG}, start=back, begin=300)[-1]
    assert [(c.machine, c.now) for c in find_changes(back, late)] == [("slave1", V.HUNG)]


def test_a_client_that_hung_long_before_is_not_the_servers() -> None:
    before = follow(*[{SERVER: V.OK, SLAVE: V.HUNG}] * 3)[-1]
    after = follow(*[{SERVER: V.HUNG, SLAVE: V.HUNG}] * 3, start=before, begin=3600)[-1]
    assert after.rows[SLAVE].because == ""
    assert [c.machine for c in find_changes(before, after)] == ["nfs1"]


def test_an_external_share_may_fail_over_within_its_budget() -> None:
    hung = follow(*[{SERVER: V.HUNG, SLAVE: V.HUNG}] * 3, watched=EXTERNAL)[-1]
    assert {row.verdict for row in hung.rows.values()} == {V.FAILING_OVER}
    assert hung.unhealthy == ()
    assert "failing over" in summarise(hung, ())
    later = follow({SERVER: V.HUNG, SLAVE: V.HUNG}, start=hung, watched=EXTERNAL, begin=59)[-1]
    assert later.rows[SERVER].verdict is V.FAILING_OVER
    over = follow({SERVER: V.HUNG, SLAVE: V.HUNG}, start=later, watched=EXTERNAL, begin=61)[-1]
    assert over.rows[SERVER].verdict is V.HUNG
    assert [(c.machine, c.was, c.now) for c in find_changes(later, over)] == [
        ("nfs1", V.FAILING_OVER, V.HUNG)
    ]
    back = follow(*[{SERVER: V.OK, SLAVE: V.OK}] * 2, start=later, watched=EXTERNAL, begin=60)[-1]
    assert {row.verdict for row in back.rows.values()} == {V.OK}


def test_what_is_no_longer_of_the_pack_is_forgotten() -> None:
    before = follow({SERVER: V.OK, SLAVE: V.OK})[-1]
    assert set(follow({SERVER: V.OK}, start=before)[-1].rows) == {SERVER}


@given(st.lists(verdicts, max_size=25))
def test_history(seen: list[Verdict]) -> None:
    """Whatever is seen: raised by three troubles in a row only, cleared by two in order, told once each."""
    states = [Watch(), *follow(*({SLAVE: v} for v in seen))]
    held = [state.rows[SLAVE].verdict if state.rows else V.OK for state in states]
    for number in range(1, len(held)):
        if held[number] is held[number - 1]:
            continue
        last = seen[:number][-3:]
        if held[number] is V.OK:
            assert last[-2:] == [V.OK, V.OK]
        else:
            assert len(last) == 3
            assert V.OK not in last
            assert held[number] is last[-1]
    told = [find_changes(a, b) for a, b in pairwise(states)]
    assert [bool(each) for each in told] == [a is not b for a, b in pairwise(held)]


moments = st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)
signs = st.none() | st.builds(Sign, st.sampled_from(Verdict), st.integers(1, 9), moments)
rows = st.builds(
    Row, st.sampled_from(Verdict), moments, st.text(max_size=20), signs, st.sampled_from(["", "nfs1"])
)


@given(
    st.dictionaries(
        st.tuples(st.text(min_size=1, max_size=9), st.text(min_size=1, max_size=9)), rows, max_size=5
    )
)
def test_what_the_table_shows_is_everything_that_is_remembered(kept: dict[tuple[str, str], Row]) -> None:
    watch = Watch(kept)
    assert parse_rows(json.loads(json.dumps(watch.as_rows()))) == watch


def test_a_damaged_table_is_a_share_that_was_never_looked_at() -> None:
    damaged: Iterable[dict[str, str]] = [{}, {"verdict": "FINE", "since": "now"}, {"result": "nothing to do"}]
    assert parse_rows(damaged) == Watch()


def test_a_share_is_mounted_where_a_node_has_it_well_or_not() -> None:
    others = {SERVER: V.OK, ("controller", "path to the server"): V.OK, ("nfs2", "cluster"): V.OK}
    for verdict in V:
        watch = follow(*[others | {SLAVE: verdict}] * 3)[-1]
        assert watch.mounted is (verdict not in {V.NOT_MOUNTED, V.UNSEEN})


def test_what_is_wrong_comes_first() -> None:
    watch = follow(*[{SERVER: V.OK, SLAVE: V.STALE}] * 3)[-1]
    assert [line["machine"] for line in watch.as_rows()] == ["slave1", "nfs1"]
    assert summarise(watch, ()) == "slave1 /var/aegir/sites is STALE. No change."
