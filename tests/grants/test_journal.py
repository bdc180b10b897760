"""What is told of a run: every statement before it is run, what came of it, and no secret."""

from tasks.errors import AccessDenied
from tasks.grants.journal import Journal
from tasks.grants.plan import plan_grants
from tasks.grants.statements import shown
from tasks.grants.values import Account, GrantStep
from tests.grants.grant_server import PASSWORD, SERVER, give

HOSTS = ("10.0.0.1", "10.0.0.2")
WHY = AccessDenied("db", "1044", "Look")


def test_a_statement_is_told_of_before_it_is_run_and_no_secret_is() -> None:
    wanted = [give(f"s{n}", HOSTS) for n in range(40)]
    steps, told = plan_grants(wanted, SERVER).steps, list[str]()
    assert len(steps) > 200
    journal = Journal("db", told.append)
    for run, step in enumerate(journal.ahead(steps)):
        # Whenever the run is killed: this one may have been run by then.
        lines = "\n".join(told).splitlines()
        assert shown(step) in lines
        assert lines.count(shown(step)) >= steps[: run + 1].count(step)
        journal.note(step, changed=True)
    journal.close()
    lines = [line for line in "\n".join(told).splitlines() if not line.startswith("db: ")]
    assert lines == [*map(shown, steps)]
    assert len(told) == -(-len(steps) // 100), "not a message each"
    assert PASSWORD[0] not in str(told)
    assert journal.steps == [*steps]


def test_what_did_not_happen_as_it_was_told_follows() -> None:
    told: list[str] = []
    first, second, third = (GrantStep("lock", "s", Account("s", f"10.0.0.{n}")) for n in (1, 2, 3))
    journal = Journal("db", told.append)
    assert [*journal.ahead([first, second, third])] == [first, second, third]
    journal.note(first, changed=False)
    journal.note_refused(second, WHY)
    journal.note_skipped(third)
    journal.note_sessions(2)
    journal.close()
    assert told[1].splitlines() == [
        "db: of these statements",
        "was so already: ALTER USER `s`@`10.0.0.1` ACCOUNT LOCK",
        "refused: ALTER USER `s`@`10.0.0.2` ACCOUNT LOCK: db: 1044. Look",
        "not run: ALTER USER `s`@`10.0.0.3` ACCOUNT LOCK",
        "2 session(s) of accounts that leave ended",
    ]
    assert journal.steps == []
