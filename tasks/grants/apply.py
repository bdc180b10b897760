"""Carry a grant plan out, one statement at a time, while nobody else of us does."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pymysql
from pymysql.connections import Connection

from tasks.errors import AccessDenied, CommandFailed, Drift, PlanRefused, Unreachable
from tasks.fleet import Database
from tasks.grants.comparison import compare, sites_of
from tasks.grants.connection import error_code, error_of, open_admin, translated
from tasks.grants.credentials import Secrets
from tasks.grants.definitions import read_definitions
from tasks.grants.facts import read_grant_facts
from tasks.grants.grant_plan import GrantPlan, fingerprint_of
from tasks.grants.journal import Journal
from tasks.grants.plan import plan_with
from tasks.grants.refusals import Refusals, raise_all
from tasks.grants.sessions import end_sessions, end_sessions_on_reader
from tasks.grants.statements import needs_password, shown, statement_of
from tasks.grants.values import STAGING_HOST, Desired, GrantFacts, GrantStep
from tasks.outcome import Outcome

log = logging.getLogger(__name__)

LOCK = "packmaster-grants"
LOCK_SECONDS = 60

# 1141 and 1147: there is no such grant. MariaDB has no REVOKE IF EXISTS.
_ALREADY_REVOKED = frozenset({1141, 1147})
_LEAVING = frozenset({"lock", "drop account"})
_DROPS = frozenset({"drop database", "drop account"})
_DIGEST = re.compile("0x[0-9A-F]+")


@contextmanager
def locked(connection: Connection[Any], server: str) -> Iterator[None]:
    """Hold the server's lock for grants; it goes with the connection, also when we are killed.

    Raises Unreachable when another run holds it for longer than 60 s.
    """
    with translated(server, "take the lock for grants"), connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, %s)", (LOCK, LOCK_SECONDS - 5))
        row = cursor.fetchone()
    if not row or row[0] != 1:
        raise Unreachable(server, "another run has been changing grants for a minute")
    try:
        yield
    finally:
        # A dead connection has given the lock back already.
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT RELEASE_LOCK(%s)", (LOCK,))
        except (pymysql.MySQLError, OSError) as gone:
            log.debug("the lock went with its connection: %s", gone)


def apply_step(connection: Connection[Any], step: GrantStep, secrets: Secrets, server: str) -> bool:
    """Run the one statement of `step`; return False where it had no effect left to have.

    Raises what the server's refusal means; the message shows no password and no digest of one.
    """
    secret = secrets.of(step) if needs_password(step) else None
    statement = statement_of(step, secret)
    bound = (secret.value.get_secret_value(),) if secret and not secret.plugin else ()
    hidden = (*bound, *(_DIGEST.findall(statement) if secret else ()))
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement, bound)
    except pymysql.MySQLError as error:
        if step.kind == "revoke" and error_code(error) in _ALREADY_REVOKED:
            return False
        raise error_of(_without_secrets(error, hidden), server, shown(step)) from None
    except OSError as lost:
        raise Unreachable(server, f"{shown(step)}: {lost}") from lost
    return True


def apply_grants(
    database: Database,
    desired: Sequence[Desired],
    plan: GrantPlan,
    *,
    removals: bool = False,
    tell: Callable[[str], None] = log.info,
) -> tuple[GrantStep, ...]:
    """Make `plan` true under the server's lock and return the steps that were run; `tell` hears of each.

    Additions first: logins are verified before a second call with `removals` takes anything away, and from
    a site that still lacks something it takes nothing. The facts are read again under the lock, and when they
    are not those of the plan, it is made again: what another run, or an earlier attempt of this one, has done
    already is not done twice. Afterwards they are read once more.

    A statement that the server refuses keeps its account's later ones from being run, and nobody else's. The
    errors come at the end, as StatementsRefused where there are several: what was refused; PlanRefused for
    what may not be done yet or any more; Drift when what was done did not make the plan true. At once raises
    Unreachable, and PlanRefused when something is now needed that was not in `plan` (nothing was done).
    """
    with closing(open_admin(database)) as connection, locked(connection, database.name):
        facts = read_facts_for(connection, database.name, desired if removals else ())
        now = _plan_again(database, desired, plan, facts)
        journal, secrets = Journal(database.name, tell), Secrets(desired, facts)
        steps = now.safe_removals if removals else now.additions
        try:
            refusals = _run(connection, database, steps, facts, journal, secrets)
        finally:
            journal.close()
        if journal.steps:
            facts = read_facts_for(connection, database.name, desired if removals else ())
            try:
                left = plan_with(plan.policy, desired, facts)
            except PlanRefused as refused:
                refusals.errors.append(refused)
                left = GrantPlan()
            # What was locked may be dropped from now on, which is for another run.
            if missed := [s for s in left.steps if s in journal.steps and not refusals.stop(s)]:
                why = f"after all was run, this is still to do: {shown(missed[0])}"
                refusals.errors.append(Drift(f"{database.name}: {why}"))
    raise_all(database.name, [*refusals.errors, *_left_undone(database.name, plan, now, removals=removals)])
    return tuple(journal.steps)


def _run(
    connection: Connection[Any],
    database: Database,
    steps: Sequence[GrantStep],
    facts: GrantFacts,
    journal: Journal,
    secrets: Secrets,
) -> Refusals:
    """Run every step that does not depend on a refused one, and return the refusals.

    Sessions of accounts that leave are ended when these are locked, before any drop.
    """
    refusals = Refusals()
    leaving = {step.account for step in steps if step.account and step.kind in _LEAVING}

    def end_all() -> None:
        gone = [step for step in steps if step.account in leaving and not refusals.stop(step)]
        accounts = {step.account for step in gone if step.account}
        try:
            journal.note_sessions(end_sessions(connection, accounts, facts, database.name))
            for reader in database.readers:
                journal.note_sessions(end_sessions_on_reader(reader, accounts, facts))
        except (AccessDenied, CommandFailed) as refused:
            refusals.add(gone, refused)

    ended = not leaving
    for step in journal.ahead(steps):
        if not ended and step.kind in _DROPS:
            end_all()
            ended = True
        if refusals.stop(step):
            journal.note_skipped(step)
            continue
        try:
            journal.note(step, changed=apply_step(connection, step, secrets, journal.server))
        except (AccessDenied, CommandFailed) as refused:
            journal.note_refused(step, refused)
            refusals.add([step], refused)
    if not ended:
        end_all()
    return refusals


def _left_undone(server: str, plan: GrantPlan, now: GrantPlan, *, removals: bool) -> Iterator[PlanRefused]:
    if surprises := set(now.refused) - set(plan.refused):
        yield PlanRefused(f"{server}: {'; '.join(sorted(surprises))}")
    if removals and (kept := sorted({step.site for step in now.removals} & now.unready)):
        yield PlanRefused(
            f"{server}: {', '.join(kept)} lacks what it should have, so nothing was taken from it",
            "Run reconcile-grants, which gives first",
        )


def read_facts_for(connection: Connection[Any], server: str, desired: Sequence[Desired]) -> GrantFacts:
    """Return the facts of the server, with what those accounts define that `desired` has no use for."""
    facts = read_grant_facts(connection, server)
    stale = {access.database for access, _ in compare(sites_of(desired), facts).stale}
    return read_definitions(connection, facts, stale, server) if stale else facts


def _plan_again(
    database: Database, desired: Sequence[Desired], plan: GrantPlan, facts: GrantFacts
) -> GrantPlan:
    if not facts.searched and fingerprint_of(desired, facts) == plan.fingerprint:
        return plan
    now = plan_with(plan.policy, desired, facts)
    if surprise := set(now.steps) - set(plan.steps):
        raise PlanRefused(
            f"{database.name} changed after it was planned: {shown(min(surprise, key=shown))}",
            "Plan again; nothing was done",
        )
    return now


def outcome_of(database: Database, step: str, done: Sequence[GrantStep]) -> Outcome:
    """Return the Outcome that reports the steps that were run, without those that only lead to others."""
    told = [line for each in done if (line := _told(each))]
    return Outcome(database.name, step, changed=bool(done), detail=", ".join(told) or "nothing to do")


def _told(step: GrantStep) -> str:
    if step.kind == "cut in":
        return f"new account {step.renamed_to}"
    if step.account and step.account.host == STAGING_HOST:
        return ""
    return f"{step.kind} {step.account or step.database}".strip()


def _without_secrets(error: pymysql.MySQLError, values: Sequence[str]) -> pymysql.MySQLError:
    text = str(error.args[-1]) if error.args else ""
    for value in values:
        text = text.replace(value, "<password>")
    return type(error)(error_code(error), text)
