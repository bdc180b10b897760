"""What a run gives and takes back, also when it is killed, late or not alone; and what keeps it from that."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pymysql
import pytest

from tasks.errors import AccessDenied, PlanRefused, Unreachable
from tasks.fleet import Database
from tasks.grants.apply import apply_grants, apply_step, locked
from tasks.grants.connection import open_admin
from tasks.grants.credentials import Secrets
from tasks.grants.drift import find_drift
from tasks.grants.facts import read_grant_facts
from tasks.grants.plan import plan_grants
from tasks.grants.values import MARKER_ROLE, Account, SiteAccess
from tests.nodes.grant_tools import (
    SECRET,
    converge,
    create,
    current_account,
    drift_kinds,
    drop,
    execute,
    facts_of,
    grant,
    kinds,
    log_in,
    owned,
    plain_facts,
    polling,
)
from tests.nodes.granted import ALL, ELSEWHERE, NAME, at, never_refused, ours, server, site

if TYPE_CHECKING:
    from tests.nodes.conftest import Bed
    from tests.nodes.databases import RootSql

__all__ = ["never_refused", "server", "site"]


def test_1_a_node_added_later_gets_an_account_and_nothing_else_is_touched(
    server: Database, site: SiteAccess
) -> None:
    before = execute(server, f"SELECT * FROM mysql.db WHERE User = '{NAME}'")
    with polling(server, site):
        plan = converge(server, replace(site, hosts=(*site.hosts, ELSEWHERE)))
    assert kinds(plan) == ["create account", "mark", "grant", "cut in"]
    assert before[0] in execute(server, f"SELECT * FROM mysql.db WHERE User = '{NAME}'")


def test_10_killed_after_any_statement_the_next_run_ends_well_and_nobody_is_refused(
    server: Database, site: SiteAccess
) -> None:
    """Everything at once is to do: respell, add, alter, unlock, revoke, lock and drop."""
    wanted = replace(site, hosts=(*site.hosts, ELSEWHERE, "10.9.9.8"))
    count = 0
    while True:
        spoil(server, site)
        plan = plan_grants([wanted], facts_of(server, wanted), drop_stale=True)
        assert set(kinds(plan)) >= {"alter", "unlock", "grant", "revoke", "lock", "drop account", "cut in"}
        if count > len(plan.steps):
            break
        with polling(server, site):
            run(server, wanted, count)
            converge(server, wanted, drop_stale=True)
        assert {there.account.host for there in ours(server)} == set(wanted.hosts)
        assert not find_drift([wanted], plain_facts(server))
        count += 5


@pytest.mark.usefixtures("never_refused")
def test_11_of_two_reconcilers_one_waits(
    server: Database, site: SiteAccess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.grants.apply.LOCK_SECONDS", 6)
    plan = plan_grants([replace(site, hosts=(ELSEWHERE,))], plain_facts(server))
    with (
        closing(open_admin(server)) as other,
        locked(other, "db"),
        pytest.raises(Unreachable, match="another run"),
    ):
        apply_grants(server, [replace(site, hosts=(ELSEWHERE,))], plan)


def test_12_what_a_dba_does_between_plan_and_run_is_planned_for_again(
    server: Database, site: SiteAccess
) -> None:
    wanted = replace(site, hosts=(*site.hosts, ELSEWHERE))
    plan = plan_grants([wanted], plain_facts(server))
    with polling(server, site):
        # What has been done already is not done twice ...
        converge(server, wanted)
        assert not apply_grants(server, [wanted], plan)
    # ... and what nobody was shown is not done.
    execute(server, f"ALTER USER `{NAME}`@`{site.hosts[0]}` ACCOUNT LOCK")
    with pytest.raises(PlanRefused, match="changed after it was planned"):
        apply_grants(server, [wanted], plan)
    # Somebody else's accounts are somebody else's business.
    execute(server, f"ALTER USER `{NAME}`@`{site.hosts[0]}` ACCOUNT UNLOCK")
    plan = plan_grants([replace(wanted, hosts=(*wanted.hosts, "10.9.9.8"))], plain_facts(server))
    create(server, Account("dba", "10.9.9.7"))
    with polling(server, site):
        assert apply_grants(server, [replace(wanted, hosts=(*wanted.hosts, "10.9.9.8"))], plan)
    drop(server, Account("dba", "10.9.9.7"))


@pytest.mark.usefixtures("never_refused")
def test_13_of_a_site_that_was_not_wholly_seen_nothing_is_dropped(server: Database, site: SiteAccess) -> None:
    both = replace(site, hosts=(*site.hosts, ELSEWHERE))
    converge(server, both)
    unsure = replace(site, complete=False)
    plan = plan_grants([unsure], plain_facts(server), drop_stale=True)
    assert not plan
    assert plan.incomplete == (NAME,)
    assert drift_kinds(server, unsure) == {"STALE_HOST"}
    assert kinds(converge(server, site, drop_stale=True)) == ["lock", "drop account"]


def test_13_with_grace_an_account_is_locked_first_and_dropped_by_a_later_run(
    server: Database, site: SiteAccess
) -> None:
    both = replace(site, hosts=(ELSEWHERE, *site.hosts))
    converge(server, both)
    gone = replace(site, hosts=(ELSEWHERE,))
    plan = plan_grants([gone], facts_of(server, gone), drop_stale=True, grace=True)
    assert kinds(plan) == ["lock"]
    apply_grants(server, [gone], plan, removals=True)
    with pytest.raises(pymysql.MySQLError, match=r"3118|4151"):  # MySQL's and MariaDB's word for it
        log_in(server, site)
    # It comes back with all it had, when its node does.
    assert drift_kinds(server, both) == {"LOCKED"}
    assert kinds(converge(server, both)) == ["unlock"]
    assert current_account(server, site) == f"{NAME}@{site.hosts[0]}"
    converge_locked = plan_grants([gone], facts_of(server, gone), drop_stale=True, grace=True)
    apply_grants(server, [gone], converge_locked, removals=True)
    assert kinds(converge(server, gone, drop_stale=True, grace=True)) == ["drop account"]


def test_14_the_definer_of_something_is_locked_and_kept_and_what_it_defined_goes_on(
    server: Database, site: SiteAccess
) -> None:
    both = replace(site, hosts=(*site.hosts, ELSEWHERE))
    converge(server, both)
    execute(
        server,
        f"CREATE TABLE `{NAME}`.t (n INT)",
        f"CREATE DEFINER=`{NAME}`@`{ELSEWHERE}` VIEW `{NAME}`.v AS SELECT n FROM `{NAME}`.t",
        f"CREATE DEFINER=`{NAME}`@`{ELSEWHERE}` TRIGGER `{NAME}`.tr BEFORE INSERT ON `{NAME}`.t "
        "FOR EACH ROW SET NEW.n = 1",
    )
    plan = plan_grants([site], facts_of(server, site), drop_stale=True)
    assert kinds(plan) == ["lock"]
    assert f"trigger {NAME}.tr, view {NAME}.v" in plan.refused[0]
    # A plan that was made before anybody looked is no excuse: it is looked at again under the lock.
    hasty = plan_grants([site], plain_facts(server), drop_stale=True)
    assert kinds(hasty) == ["lock", "drop account"]
    with pytest.raises(PlanRefused, match="it is the definer of"):
        apply_grants(server, [site], hasty, removals=True)
    with polling(server, site, "INSERT INTO t VALUES (5)", "SELECT * FROM v"):
        assert not converge(server, site, drop_stale=True)
    execute(server, f"DROP VIEW `{NAME}`.v", f"DROP TRIGGER `{NAME}`.tr")
    assert kinds(converge(server, site, drop_stale=True)) == ["drop account"]


@pytest.mark.usefixtures("never_refused")
def test_16_a_server_that_is_read_only_is_left_alone(
    server: Database, site: SiteAccess, root_sql: RootSql
) -> None:
    wanted = replace(site, hosts=(*site.hosts, ELSEWHERE))
    plan = plan_grants([wanted], plain_facts(server))
    root_sql(server.name, "SET GLOBAL read_only = 1")
    try:
        assert not plan_grants([site], plain_facts(server))
        with pytest.raises(PlanRefused, match="read-only"):
            plan_grants([wanted], plain_facts(server))
        with pytest.raises(PlanRefused, match="read-only"):
            apply_grants(server, [wanted], plan)
    finally:
        root_sql(server.name, "SET GLOBAL read_only = 0")


@pytest.mark.usefixtures("never_refused")
@pytest.mark.parametrize("may", ["", "GRANT SELECT ON mysql.user TO", "GRANT CREATE USER ON *.* TO"])
def test_17_a_reader_that_sees_too_little_fails_and_does_not_create_everything(
    server: Database, bed: Bed, may: str
) -> None:
    blind = Account("blind", bed.controller)
    create(server, blind)
    if may:
        execute(server, f"{may} `blind`@`{bed.controller}`")
    try:
        with pytest.raises((AccessDenied, PlanRefused)):
            facts_of(replace(server, admin_user="blind", admin_password=SECRET))
    finally:
        drop(server, blind)


@pytest.mark.usefixtures("never_refused")
def test_more_drops_than_the_budget_are_refused(server: Database, site: SiteAccess) -> None:
    many = replace(site, hosts=(*site.hosts, *(f"10.9.8.{n}" for n in range(1, 25))))
    converge(server, many)
    with pytest.raises(PlanRefused, match="24 of 25 accounts would be locked and dropped"):
        plan_grants([site], plain_facts(server), drop_stale=True)


def test_reading_takes_the_same_number_of_queries_for_many_accounts(server: Database) -> None:
    def cost() -> int:
        with closing(open_admin(server)) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW SESSION STATUS LIKE 'Questions'")
            before = int(cursor.fetchone()[1])
            read_grant_facts(connection, "db")
            cursor.execute("SHOW SESSION STATUS LIKE 'Questions'")
            return int(cursor.fetchone()[1]) - before

    few = cost()
    hosts = [f"10.9.8.{n}" for n in range(1, 41)]
    execute(server, *(f"CREATE USER `{NAME}`@`{host}`" for host in hosts))
    assert cost() == few <= 12


def spoil(server: Database, site: SiteAccess) -> None:
    """The site works from here; everything else that can be wrong is."""
    for there in ours(server):
        if there.account.host != site.hosts[0]:
            drop(server, there.account)
    held = [r.pattern for r in plain_facts(server).rights if r.account.user == NAME]
    if NAME not in held:
        grant(server, at(site, site.hosts[0]), NAME, ALL)
    if owned(site) in held:
        execute(server, f"REVOKE {ALL} ON `{owned(site)}`.* FROM `{NAME}`@`{site.hosts[0]}`")
    wrong = at(site, ELSEWHERE)
    create(server, wrong, "by-hand")
    execute(
        server,
        f"GRANT `{MARKER_ROLE}` TO `{NAME}`@`{ELSEWHERE}`",
        f"ALTER USER `{NAME}`@`{ELSEWHERE}` ACCOUNT LOCK",
    )
    create(server, at(site, "10.9.9.7"))
    execute(server, f"GRANT `{MARKER_ROLE}` TO `{NAME}`@`10.9.9.7`")


def run(server: Database, wanted: SiteAccess, count: int) -> None:
    """The begin of a run that is killed after `count` statements."""
    facts = facts_of(server, wanted)
    secrets = Secrets([wanted], facts)
    with closing(open_admin(server)) as connection:
        for step in plan_grants([wanted], facts, drop_stale=True).steps[:count]:
            apply_step(connection, step, secrets, server.name)
