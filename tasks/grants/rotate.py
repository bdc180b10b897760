"""A rotation carried out: what accounts take is read from their digests, statements run under the lock."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

import pymysql
from pydantic import SecretStr
from pymysql.connections import Connection

from tasks.errors import Drift, PlanRefused, Unreachable
from tasks.fleet import Database, Node
from tasks.grants.apply import locked
from tasks.grants.connection import error_code, error_of, log_in_from, open_admin
from tasks.grants.digests import CACHING_SHA2, sha2_digest, sha2_matches
from tasks.grants.facts import read_grant_facts
from tasks.grants.passwords import NATIVE, native_digest
from tasks.grants.rotation import Accepted, RotationKind, RotationPlan, RotationStep, Secret, plan_rotation
from tasks.grants.statements import quote_account
from tasks.grants.values import AccountFacts, GrantFacts
from tasks.ssh import connect

log = logging.getLogger(__name__)

Phase = Literal["opening", "closing"]
_REFUSED = frozenset({1045, 1698})
# What follows the account's name. MySQL takes a digest as hexadecimal digits only where it has odd bytes.
_CLAUSES: Mapping[RotationKind, str] = {
    "set old": f"IDENTIFIED WITH {CACHING_SHA2} AS {{old}}",
    "set new": f"IDENTIFIED WITH {CACHING_SHA2} AS {{new}}",
    "add new": f"IDENTIFIED WITH {CACHING_SHA2} AS {{new}} RETAIN CURRENT PASSWORD",
    "discard": "DISCARD OLD PASSWORD",
    "accept either": f"IDENTIFIED VIA {NATIVE} USING {{new}} OR {NATIVE} USING {{old}}",
    "accept only new": f"IDENTIFIED VIA {NATIVE} USING {{new}}",
}


@dataclass(frozen=True, slots=True)
class Rotation:
    """The password of `user` on its way from `old` to `new`."""

    user: str
    old: SecretStr
    new: SecretStr


def plan_password_rotation(rotation: Rotation, facts: GrantFacts) -> RotationPlan:
    """Return what is left to do for the accounts of ours that are called so, at whatever address.

    Raises PlanRefused where there is none, or one whose kind of login can have no two passwords.
    """
    accounts = _accounts_of(rotation, facts)
    return plan_rotation(rotation.user, [_accepted(rotation, each) for each in accounts], facts.server.kind)


def apply_rotation(
    database: Database, rotation: Rotation, plan: RotationPlan, phase: Phase
) -> tuple[RotationStep, ...]:
    """Run one phase of `plan` under the server's lock and return the steps that were run.

    What was done already is not done twice. Raises PlanRefused, with nothing done, when something else than
    in `plan` has become necessary; Unreachable and AccessDenied.
    """
    with closing(open_admin(database)) as connection, locked(connection, database.name):
        facts = read_grant_facts(connection, database.name)
        now = plan_password_rotation(rotation, facts)
        if surprise := set(now.steps) - set(plan.steps):
            raise PlanRefused(
                f"the accounts of {rotation.user} on {database.name} changed after it was planned: "
                f"{min(map(str, surprise))}",
                "Run it again; nothing was done",
            )
        steps = now.opening if phase == "opening" else now.closing
        values = _choose_digests(rotation, facts)
        for step in steps:
            _run(connection, step, values, database.name)
            log.info("%s: %s", database.name, step)
    return steps


def verify_refused(node: Node, database: Database, user: str, password: SecretStr) -> None:
    """Return once a login from `node` with this password was refused; raises Drift when it was let in."""
    where = f"{database.name} from {node.name}"
    try:
        with closing(log_in_from(connect(node), database, user, password)):
            raise Drift(f"{where}: {user} can still log in with the old password")
    except pymysql.MySQLError as error:
        if error_code(error) not in _REFUSED:
            raise error_of(error, where, f"try the old password of {user}") from None
    except (OSError, EOFError) as lost:
        raise Unreachable(where, str(lost)) from lost


def shown(step: RotationStep) -> str:
    """Return the statement as an operator reads it, without any password."""
    return _statement(step, {"old": "'<old>'", "new": "'<new>'"})


def _accounts_of(rotation: Rotation, facts: GrantFacts) -> list[AccountFacts]:
    plugin = CACHING_SHA2 if facts.server.kind == "mysql" else NATIVE
    found = [there for there in facts.accounts if there.managed and there.account.user == rotation.user]
    if not found:
        raise PlanRefused(f"no account of ours is called {rotation.user}", "Run reconcile-grants first")
    for there in found:
        if there.plugin != plugin:
            raise PlanRefused(
                f"{there.account} logs in by {there.plugin}, and not by {plugin}",
                "Only one of that kind can take two passwords",
            )
    return found


def _accepted(rotation: Rotation, there: AccountFacts) -> Accepted:
    stored = [(there.plugin, there.digest), *there.others]
    return Accepted(there.account, tuple(_name_of(rotation, plugin, digest) for plugin, digest in stored))


def _name_of(rotation: Rotation, plugin: str, digest: SecretStr) -> Secret:
    if _matches(plugin, digest, rotation.new):
        return "new"
    return "old" if _matches(plugin, digest, rotation.old) else "other"


def _matches(plugin: str, digest: SecretStr, password: SecretStr) -> bool:
    if plugin == NATIVE:
        return digest.get_secret_value().upper() == native_digest(password)
    return plugin == CACHING_SHA2 and sha2_matches(digest, password)


def _choose_digests(rotation: Rotation, facts: GrantFacts) -> Mapping[str, str]:
    """Return the bytes to store for each password, as SQL: where there are any already, those everywhere."""
    if facts.server.kind == "mariadb":
        return {"old": f"'{native_digest(rotation.old)}'", "new": f"'{native_digest(rotation.new)}'"}
    stored = {
        _name_of(rotation, plugin, digest): digest
        for there in reversed(_accounts_of(rotation, facts))
        for plugin, digest in ((there.plugin, there.digest), *there.others)
    }
    digests = {
        "old": stored.get("old") or sha2_digest(rotation.old),
        "new": stored.get("new") or sha2_digest(rotation.new),
    }
    return {name: f"0x{digest.get_secret_value().encode().hex()}" for name, digest in digests.items()}


def _statement(step: RotationStep, digests: Mapping[str, str]) -> str:
    clause = _CLAUSES[step.kind].format(**digests)
    return "ALTER USER " + ", ".join(f"{quote_account(account)} {clause}" for account in step.accounts)


def _run(connection: Connection[Any], step: RotationStep, digests: Mapping[str, str], server: str) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute(_statement(step, digests))
    except pymysql.MySQLError as error:
        # Without the server's words: a syntax error quotes the statement, digests included.
        code = error_code(error)
        raise error_of(type(error)(code, f"refused ({code})"), server, shown(step)) from None
    except OSError as lost:
        raise Unreachable(server, f"{shown(step)}: {lost}") from lost
