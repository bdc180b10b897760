"""Grants on the real database server, proven by logins from the real nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from tasks.errors import AccessDenied, Drift, PlanRefused, Unreachable
from tasks.fleet import Database, Node
from tasks.grants.apply import apply_grants, apply_step, locked
from tasks.grants.connection import open_admin
from tasks.grants.credentials import Secrets
from tasks.grants.discover import discover_client_addresses
from tasks.grants.facts import read_grant_facts
from tasks.grants.grant_plan import GrantPlan
from tasks.grants.plan import plan_grants
from tasks.grants.statements import quote_identifier
from tasks.grants.values import (
    STAGING_HOST,
    Desired,
    GrantFacts,
    RemovedAccess,
    SiteAccess,
    database_name,
    user_name,
)
from tasks.grants.verify import verify_login

if TYPE_CHECKING:
    from conftest import Bed, DockerExec

SECRET = SecretStr("s3cret-for-tests")
LONG = "a-very-long-name-with-hyphens-that-fills-a-whole-label-of-dns.example.org"


@pytest.fixture(scope="module")
def fleet(bed: Bed) -> tuple[Node, ...]:
    key = SecretStr(bed.private_key.read_text())
    return tuple(
        Node(name, bed.addresses[name], "apache", key, (bed.host_keys[name],), user="root")
        for name in sorted(bed.addresses)
    )


@pytest.fixture(scope="module")
def database(bed: Bed) -> Database:
    return Database("db", bed.db_host, bed.db_admin_user, SecretStr(bed.db_admin_password), bed.db_port)


@pytest.fixture
def admin(database: Database) -> Iterator[Any]:
    with closing(open_admin(database)) as connection:
        yield connection


def execute(connection: Any, *statements: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
            rows = list(cursor.fetchall())
    return rows


def access_for(uri: str, *hosts: str) -> SiteAccess:
    return SiteAccess(uri, database_name(uri), user_name(uri), SECRET, hosts)


def facts_of(database: Database) -> GrantFacts:
    with closing(open_admin(database)) as connection:
        return read_grant_facts(connection, database.name)


def converge(database: Database, *desired: Desired, drop_stale: bool = False) -> GrantPlan:
    plan = plan_grants(desired, facts_of(database), drop_stale=drop_stale)
    apply_grants(database, desired, plan)
    apply_grants(database, desired, plan, removals=True)
    assert not plan_grants(desired, facts_of(database), drop_stale=drop_stale), "a second run has work"
    return plan


def forget(database: Database, *accesses: SiteAccess) -> None:
    converge(database, *(RemovedAccess(a.site, a.database, a.user) for a in accesses))


def test_the_database_tells_every_nodes_address(
    fleet: tuple[Node, ...], bed: Bed, database: Database
) -> None:
    for node in fleet:
        assert discover_client_addresses(node, database).addresses == (bed.addresses[node.name],)


@pytest.mark.parametrize("uri", ["a-b.example.org", LONG, "example.org"])
def test_a_site_reaches_its_database_from_every_node_and_from_nowhere_else(
    fleet: tuple[Node, ...], database: Database, uri: str
) -> None:
    *serving, other = fleet
    access = access_for(uri, *(discover_client_addresses(node, database).addresses[0] for node in serving))
    assert converge(database, access)
    for node in serving:
        assert verify_login(node, database, access) == f"{access.user}@{node.address}"
    with pytest.raises(AccessDenied) as denied:
        verify_login(other, database, access)
    assert SECRET.get_secret_value() not in str(denied.value)
    assert not converge(database, access)
    forget(database, access)
    assert access.database not in facts_of(database).databases


def test_sites_cannot_reach_each_other(fleet: tuple[Node, ...], database: Database, admin: Any) -> None:
    node = fleet[0]
    ours, sibling = access_for("a-b.org", node.address), access_for("a.b.org", node.address)
    converge(database, ours, sibling)
    verify_login(node, database, ours)
    with pytest.raises(AccessDenied, match="1044"):
        verify_login(node, database, replace(ours, database=sibling.database))
    # A wildcard that somebody granted by hand shows, although the site itself would never notice.
    execute(admin, f"GRANT SELECT ON {quote_identifier(ours.database)}.* TO '{ours.user}'@'{node.address}'")
    with pytest.raises(Drift, match="not its own"):
        verify_login(node, database, ours)
    plan = converge(database, ours, sibling)
    assert [step.kind for step in plan.steps] == ["revoke"]
    verify_login(node, database, ours)
    forget(database, ours, sibling)


def test_a_password_that_differs_is_set_again(
    fleet: tuple[Node, ...], database: Database, admin: Any
) -> None:
    access = access_for("password.org", fleet[0].address)
    converge(database, access)
    execute(admin, f"ALTER USER '{access.user}'@'{fleet[0].address}' IDENTIFIED BY 'by-hand'")
    with pytest.raises(AccessDenied):
        verify_login(fleet[0], database, access)
    assert [step.kind for step in converge(database, access).steps] == ["alter"]
    verify_login(fleet[0], database, access)
    forget(database, access)


def test_a_run_killed_after_any_statement_is_finished_by_the_next(
    fleet: tuple[Node, ...], database: Database, admin: Any
) -> None:
    access = access_for("killed.org", fleet[0].address, fleet[1].address)
    steps, secrets = plan_grants([access], facts_of(database)).steps, Secrets([access], facts_of(database))
    for count in range(len(steps) + 1):
        for step in steps[:count]:
            apply_step(admin, step, secrets, database.name)
        converge(database, access)
        verify_login(fleet[1], database, access)
        assert not [a for a in facts_of(database).accounts if a.account.host == STAGING_HOST]
        forget(database, access)


def test_every_statement_can_be_run_twice(fleet: tuple[Node, ...], database: Database, admin: Any) -> None:
    access = access_for("twice.org", fleet[0].address)
    secrets = Secrets([access], facts_of(database))
    for step in plan_grants([access], facts_of(database)).steps:
        if step.kind != "cut in":
            apply_step(admin, step, secrets, database.name)
        apply_step(admin, step, secrets, database.name)
    verify_login(fleet[0], database, access)
    removed = RemovedAccess(access.site, access.database, access.user)
    for step in plan_grants([removed], facts_of(database)).steps:
        apply_step(admin, step, secrets, database.name)
        apply_step(admin, step, secrets, database.name)


def test_accounts_made_by_hand_are_neither_used_nor_touched(
    fleet: tuple[Node, ...], database: Database, admin: Any
) -> None:
    access = access_for("by-hand.org", fleet[0].address)
    execute(admin, f"CREATE USER '{access.user}'@'10.9.9.9' IDENTIFIED BY 'x'")
    with pytest.raises(PlanRefused, match="ADOPTION_REQUIRED"):
        converge(database, access)
    execute(admin, f"DROP USER '{access.user}'@'10.9.9.9'", f"CREATE DATABASE {access.database}")
    with pytest.raises(PlanRefused, match="ADOPTION_REQUIRED: the database"):
        converge(database, access)
    execute(admin, f"DROP DATABASE {access.database}")


def test_odd_names_survive_the_round_trip(fleet: tuple[Node, ...], database: Database, admin: Any) -> None:
    for mode in ("", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"):
        execute(admin, f"SET GLOBAL sql_mode = '{mode}'")
        try:
            password = SecretStr('it\'s \\ 100% "`quoted`"')
            access = SiteAccess("odd.org", "o`d%d\\_n'a\"me", "u`s%e'r\"\\", password, (fleet[0].address,))
            converge(database, access)
            assert verify_login(fleet[0], database, access).startswith(access.user)
            forget(database, access)
        finally:
            execute(admin, "SET GLOBAL sql_mode = DEFAULT")


def test_a_stale_address_goes_only_when_asked(fleet: tuple[Node, ...], database: Database) -> None:
    both = access_for("stale.org", fleet[0].address, fleet[1].address)
    converge(database, both)
    one = replace(both, hosts=both.hosts[:1])
    assert not converge(database, one)
    verify_login(fleet[1], database, both)
    assert [step.kind for step in converge(database, one, drop_stale=True).steps] == ["lock", "drop account"]
    with pytest.raises(AccessDenied):
        verify_login(fleet[1], database, both)
    forget(database, one)


def test_a_server_that_changed_after_it_was_planned_is_planned_again(
    fleet: tuple[Node, ...], database: Database, admin: Any
) -> None:
    access = access_for("replan.org", fleet[0].address)
    plan = converge(database, access)
    execute(admin, f"ALTER USER '{access.user}'@'{fleet[0].address}' IDENTIFIED BY 'by-hand'")
    with pytest.raises(PlanRefused, match="changed after it was planned"):
        apply_grants(database, [access], plan)
    forget(database, access)


def test_two_runs_wait_for_each_other(
    database: Database, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.grants.apply.LOCK_SECONDS", 6)
    with (
        closing(open_admin(database)) as other,
        locked(admin, "db"),
        pytest.raises(Unreachable, match="another run"),
        locked(other, "db"),
    ):
        pytest.fail("two runs hold the lock")
    with closing(open_admin(database)) as other, locked(other, "db"):
        pass


def test_a_database_that_does_not_answer_is_unreachable(
    fleet: tuple[Node, ...], database: Database, docker_exec: DockerExec
) -> None:
    nobody = replace(database, port=3399)
    with pytest.raises(Unreachable):
        open_admin(nobody)
    with pytest.raises(Unreachable):
        discover_client_addresses(fleet[0], nobody)
    with pytest.raises(AccessDenied) as denied:
        open_admin(replace(database, admin_password=SecretStr("wrong-password")))
    assert "wrong-password" not in str(denied.value)


def test_reading_takes_the_same_number_of_queries_for_many_accounts(database: Database, admin: Any) -> None:
    def queries() -> int:
        return int(execute(admin, "SHOW SESSION STATUS LIKE 'Questions'")[0][1])

    def cost() -> int:
        before = queries()
        read_grant_facts(admin, "db")
        return queries() - before

    few = cost()
    execute(admin, *(f"CREATE USER 'many{n}'@'10.0.0.1'" for n in range(50)))
    assert cost() == few
    execute(admin, *(f"DROP USER 'many{n}'@'10.0.0.1'" for n in range(50)))
