"""Carry a grant plan out, one statement at a time, while nobody else of us does."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pymysql
from pydantic import SecretStr
from pymysql.connections import Connection

from tasks.errors import PlanRefused, Unreachable
from tasks.fleet import Database
from tasks.grants.connection import error_code, error_of, open_admin, translated
from tasks.grants.facts import read_grant_facts
from tasks.grants.plan import GrantPlan, plan_grants
from tasks.grants.statements import needs_password, shown, statement_of
from tasks.grants.values import STAGING_HOST, Desired, GrantStep, SiteAccess
from tasks.outcome import Outcome

log = logging.getLogger(__name__)

LOCK = "packmaster-grants"
LOCK_SECONDS = 60

# 1141 and 1147: there is no such grant. MariaDB has no REVOKE IF EXISTS.
_ALREADY_REVOKED = frozenset({1141, 1147})


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


def apply_step(
    connection: Connection[Any], step: GrantStep, passwords: Mapping[str, SecretStr], server: str
) -> bool:
    """Run the one statement of `step`; return False where it had no effect left to have.

    `passwords` are by user name. Raises what the server's refusal means; the message shows no password.
    """
    values: tuple[str, ...] = ()
    if needs_password(step) and step.account:
        values = (passwords[step.account.user].get_secret_value(),)
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement_of(step), values)
    except pymysql.MySQLError as error:
        if step.kind == "revoke" and error_code(error) in _ALREADY_REVOKED:
            return False
        raise error_of(_without_secrets(error, values), server, shown(step)) from None
    except OSError as lost:
        raise Unreachable(server, f"{shown(step)}: {lost}") from lost
    return True


def apply_grants(
    database: Database, desired: Sequence[Desired], plan: GrantPlan, *, removals: bool = False
) -> tuple[GrantStep, ...]:
    """Make `plan` true under the server's lock and return the steps that were run.

    Additions first: logins are verified before a second call with `removals` takes anything away. The facts
    are read again under the lock: what another run, or an earlier attempt of this one, has done already is
    not done twice. Raises PlanRefused when something is now needed that was not in `plan`.
    """
    passwords = {access.user: access.password for access in desired if isinstance(access, SiteAccess)}
    done: list[GrantStep] = []
    with closing(open_admin(database)) as connection, locked(connection, database.name):
        facts = read_grant_facts(connection, database.name)
        now = plan_grants(desired, facts, drop_stale=plan.drop_stale)
        if surprise := set(now.steps) - set(plan.steps):
            raise PlanRefused(
                f"{database.name} changed after it was planned: {shown(min(surprise, key=shown))}",
                "Plan again; nothing was done",
            )
        for step in now.removals if removals else now.additions:
            if apply_step(connection, step, passwords, database.name):
                done.append(step)
                log.info("%s: %s", database.name, shown(step))
    return tuple(done)


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
