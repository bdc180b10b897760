"""A database server as the planner sees it, that obeys the planner's steps."""

import hashlib
from dataclasses import replace

from pydantic import SecretStr

from tasks.grants.effective import applied_rights, login_account
from tasks.grants.grant_plan import GrantPlan
from tasks.grants.values import (
    Account,
    AccountFacts,
    DatabaseRights,
    GrantFacts,
    GrantStep,
    ServerFacts,
    SiteAccess,
)


def native_digest(password: str) -> str:
    return "*" + hashlib.sha1(hashlib.sha1(password.encode()).digest()).hexdigest().upper()


OTHER = "other"
PASSWORD = ("correct-horse", native_digest("correct-horse"))
SERVER = GrantFacts(
    server=ServerFacts("mariadb", "10.11"),
    me=Account("packmaster", "10.0.0.254"),
    accounts=(AccountFacts(Account("root", "localhost"), False, "unix_socket", SecretStr("")),),
)


def give(name: str, hosts: tuple[str, ...] = ("10.0.0.1",)) -> SiteAccess:
    return SiteAccess(name, database=name, user=name, password=SecretStr(PASSWORD[0]), hosts=hosts)


def taken(facts: GrantFacts, user: str) -> list[str]:
    return sorted(there.account.host for there in facts.accounts if there.account.user == user)


def simulate(facts: GrantFacts, plan: GrantPlan) -> GrantFacts:
    for step in plan.steps:
        facts = after(facts, step)
    return facts


def may(facts: GrantFacts, access: SiteAccess, host: str) -> frozenset[str]:
    """What a login of the site from `host` with the site's password may do in its database."""
    taken_as = login_account(facts.accounts, access.user, host, facts.server)
    account = next((there for there in facts.accounts if there.account == taken_as), None)
    if account is None or account.locked or account.digest.get_secret_value() != PASSWORD[1]:
        return frozenset()
    row = applied_rights(facts.rights, account.account.user, host, access.database, facts.server)
    return row.privileges & set(access.privileges) if row else frozenset()


def after(facts: GrantFacts, step: GrantStep) -> GrantFacts:  # noqa: C901 - a branch per kind of step
    accounts = {there.account: there for there in facts.accounts}
    rights = {(r.account, r.pattern): r.privileges for r in facts.rights}
    databases = set(facts.databases)
    who = step.account or Account("", "")
    match step.kind:
        case "create role":
            return replace(facts, has_marker=True)
        case "lock" | "unlock":
            accounts[who] = replace(accounts[who], locked=step.kind == "lock")
        case "clear" | "drop account":
            accounts.pop(who, None)
            rights = {key: value for key, value in rights.items() if key[0] != who}
        case "create account":
            accounts.setdefault(
                who, AccountFacts(who, False, "mysql_native_password", SecretStr(PASSWORD[1]))
            )
        case "alter":
            accounts[who] = replace(accounts[who], digest=SecretStr(PASSWORD[1]), others=())
        case "mark":
            accounts[who] = replace(accounts[who], managed=True)
        case "cut in":
            assert step.renamed_to is not None
            assert step.renamed_to not in accounts
            accounts[step.renamed_to] = replace(accounts.pop(who), account=step.renamed_to)
            rights = {(step.renamed_to if a == who else a, p): v for (a, p), v in rights.items()}
        case "grant":
            assert who in accounts
            rights[who, step.pattern] = rights.get((who, step.pattern), frozenset()) | set(step.privileges)
        case "revoke":
            left = rights[who, step.pattern] - set(step.privileges)
            rights = {k: v for k, v in rights.items() if k != (who, step.pattern)}
            rights |= {(who, step.pattern): left} if left else {}
        case "create database":
            databases.add(step.database)
        case "drop database":
            databases.discard(step.database)
    return replace(
        facts,
        accounts=tuple(accounts.values()),
        rights=tuple(DatabaseRights(a, p, v) for (a, p), v in rights.items()),
        databases=frozenset(databases),
    )
