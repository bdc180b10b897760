"""What goes wrong with grants in the field, on both servers, with a client that is logged in all the while.

Each test says what the servers do; where they differ, it says so. The host that a site is on is this machine,
whose logins come from where the tests run: what needs several nodes is in test_grants_nodes.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pymysql
import pytest
from pydantic import SecretStr

from tasks.errors import AccessDenied, PlanRefused, Unreachable
from tasks.fleet import Database
from tasks.grants.apply import apply_grants, apply_step, locked
from tasks.grants.connection import open_admin
from tasks.grants.credentials import Secrets
from tasks.grants.drift import find_drift
from tasks.grants.facts import read_grant_facts
from tasks.grants.plan import plan_grants
from tasks.grants.values import MARKER_ROLE, SITE_PRIVILEGES, STAGING_HOST, Account, SiteAccess
from tests.nodes.grant_tools import (
    SECRET,
    access_named,
    converge,
    create,
    current_account,
    drift_kinds,
    drop,
    execute,
    facts_of,
    forget,
    grant,
    kinds,
    log_in,
    owned,
    plain_facts,
    polling,
)

if TYPE_CHECKING:
    from tests.nodes.conftest import Bed
    from tests.nodes.databases import RootSql

NAME = "site_a_b"
ELSEWHERE = "10.9.9.9"
ALL = ", ".join(SITE_PRIVILEGES)


@pytest.fixture
def server(database_server: Database) -> Iterator[Database]:
    """The server, with nothing of ours on it."""
    for name in (NAME, "site_b"):
        forget(database_server, name)
    yield database_server
    for name in (NAME, "site_b"):
        forget(database_server, name)


@pytest.fixture
def site(server: Database, bed: Bed) -> SiteAccess:
    """A site that is on this machine and has all it needs."""
    access = access_named(NAME, bed.controller)
    converge(server, access)
    return access


def at(access: SiteAccess, host: str) -> Account:
    return Account(access.user, host)


def test_1_a_node_added_later_gets_an_account_and_nothing_else_is_touched(
    server: Database, site: SiteAccess
) -> None:
    before = execute(server, f"SELECT * FROM mysql.db WHERE User = '{NAME}'")
    with polling(server, site):
        plan = converge(server, replace(site, hosts=(*site.hosts, ELSEWHERE)))
    assert kinds(plan) == ["create account", "mark", "grant", "cut in"]
    assert before[0] in execute(server, f"SELECT * FROM mysql.db WHERE User = '{NAME}'")


def test_2_an_unescaped_name_is_escaped_and_nobody_loses_access(server: Database, site: SiteAccess) -> None:
    respell(server, site, NAME, ALL)
    forget(server, "site_axb")
    execute(server, "CREATE DATABASE `site_axb`")
    with closing(log_in(server, site)) as connection:
        connection.select_db("site_axb")  # the wildcard lets it in
    assert drift_kinds(server, site) == {"UNESCAPED", "MISSING"}
    with polling(server, site):
        assert kinds(converge(server, site)) == ["grant", "revoke"]
    with closing(log_in(server, site)) as connection, pytest.raises(pymysql.MySQLError, match="1044"):
        connection.select_db("site_axb")
    execute(server, "DROP DATABASE `site_axb`")


def test_3_of_two_spellings_one_applies_and_both_become_one(server: Database, site: SiteAccess) -> None:
    respell(server, site, NAME, ALL)
    grant(server, at(site, site.hosts[0]), owned(site), "SELECT")
    with closing(log_in(server, site, NAME)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        with pytest.raises(pymysql.MySQLError, match="1142"):
            cursor.execute("CREATE TABLE t (n INT)")  # the other row gives it, and does not apply
    assert {"DUP_ROW", "SHADOWED", "MISSING"} >= drift_kinds(server, site) >= {"DUP_ROW", "MISSING"}
    with polling(server, site, "SELECT * FROM polled"):
        assert kinds(converge(server, site)) == ["grant", "revoke"]
    with polling(server, site):
        assert not converge(server, site)


def test_4_with_partial_revokes_names_are_not_escaped(server: Database, bed: Bed, root_sql: RootSql) -> None:
    if plain_facts(server).server.kind == "mariadb":
        pytest.skip("MariaDB has no partial_revokes")
    root_sql(server.name, "SET GLOBAL partial_revokes = ON; FLUSH PRIVILEGES")
    try:
        site = access_named(NAME, bed.controller)
        assert "on" not in kinds(converge(server, site))
        rows = execute(server, f"SELECT Db FROM mysql.db WHERE User = '{NAME}'", as_text=True)
        assert rows == [(NAME,)]
        with polling(server, site):
            # An escaped name is another name now: it gives nothing, and goes.
            grant(server, at(site, site.hosts[0]), owned(site), "SELECT")
            assert kinds(converge(server, site)) == ["revoke"]
    finally:
        forget(server, NAME)
        root_sql(server.name, "SET GLOBAL partial_revokes = OFF; FLUSH PRIVILEGES")


def test_5_an_account_for_every_host_shows_and_is_adopted_only_when_asked(
    server: Database, site: SiteAccess
) -> None:
    broad = at(site, "%")
    create(server, broad)
    grant(server, broad, owned(site), "ALL")
    execute(server, f"REVOKE INSERT ON `{owned(site)}`.* FROM `{NAME}`@`{site.hosts[0]}`")
    found = find_drift([site], plain_facts(server))
    assert {row.kind for row in found.rows} == {"BROADER", "SHADOWED", "MISSING", "ADOPTION_REQUIRED"}
    assert found.matrix({"here": site.hosts}) == [
        {"site": NAME, "here": "MISSING SHADOWED", "site-wide": "ADOPTION_REQUIRED BROADER"}
    ]
    with pytest.raises(PlanRefused, match="ADOPTION_REQUIRED"):
        plan_grants([site], plain_facts(server))
    with polling(server, site, "SELECT * FROM polled"):
        plan = converge(server, site, adopt=True, drop_stale=True)
    assert kinds(plan) == ["mark", "grant", "lock", "drop account"]
    assert not find_drift([site], plain_facts(server))


def test_6_an_anonymous_account_takes_logins_of_missing_ones_and_is_never_touched(
    server: Database, site: SiteAccess
) -> None:
    nobody = Account("", site.hosts[0])
    create(server, nobody, "nobody-s-own")
    before = execute(server, "SELECT * FROM mysql.user WHERE User = ''")
    try:
        # A named account at one exact address is not in its shadow.
        assert current_account(server, site) == f"{NAME}@{site.hosts[0]}"
        assert not find_drift([site], plain_facts(server))
        execute(server, f"DROP USER `{NAME}`@`{site.hosts[0]}`")
        create(server, at(site, "%"))
        with pytest.raises(pymysql.MySQLError, match="1045"):
            log_in(server, site)  # taken as the anonymous one, which has another password
        drop(server, at(site, "%"))
        found = find_drift([site], plain_facts(server))
        assert {row.kind for row in found.rows} == {"MISSING", "SHADOWED"}
        assert f"@{site.hosts[0]}" in str(found)
        converge(server, site, adopt=True)
        assert current_account(server, site) == f"{NAME}@{site.hosts[0]}"
        assert execute(server, "SELECT * FROM mysql.user WHERE User = ''") == before
    finally:
        drop(server, nobody)


def test_7_another_password_on_one_host_shows_and_all_hosts_store_the_same_again(
    server: Database, site: SiteAccess
) -> None:
    both = replace(site, hosts=(*site.hosts, ELSEWHERE))
    converge(server, both)
    execute(server, f"ALTER USER `{NAME}`@`{ELSEWHERE}` IDENTIFIED BY 'by-hand'")
    (row,) = find_drift([both], plain_facts(server)).rows
    assert (row.kind, row.host) == ("WRONG_HASH", ELSEWHERE)
    with polling(server, site):
        assert kinds(converge(server, both)) == ["alter"]
    stored = {there.digest.get_secret_value() for there in ours(server)}
    assert len(stored) == 1
    # The right password, stored with another salt, is no other password, and yet cannot be seen as the same.
    execute(server, f"ALTER USER `{NAME}`@`{ELSEWHERE}` IDENTIFIED BY '{SECRET.get_secret_value()}'")
    salted = plain_facts(server).server.kind == "mysql"
    assert kinds(converge(server, both)) == (["alter"] if salted else [])
    assert {there.digest.get_secret_value() for there in ours(server)} == stored


def test_7_the_only_password_being_wrong_shows_where_it_is_looked_at(
    server: Database, site: SiteAccess
) -> None:
    execute(server, f"ALTER USER `{NAME}`@`{site.hosts[0]}` IDENTIFIED BY 'by-hand'")
    salted = plain_facts(server).server.kind == "mysql"
    # One salted digest looks like any other: a login tells, or computing it.
    assert bool(plan_grants([site], plain_facts(server))) is not salted
    assert kinds(converge(server, site, thorough=True)) == ["alter"]
    assert current_account(server, site) == f"{NAME}@{site.hosts[0]}"


def test_8_a_network_is_refused_for_the_servers_do_not_agree_on_it(
    server: Database, site: SiteAccess
) -> None:
    network = site.hosts[0].rpartition(".")[0] + ".0"
    for host in (f"{network}/24", f"{network}/255.255.255.0"):
        with pytest.raises(PlanRefused, match="not one exact address"):
            plan_grants([replace(site, hosts=(host,))], plain_facts(server))
    forget(server, NAME)
    create(server, at(site, f"{network}/24"))
    if plain_facts(server).server.kind == "mariadb":
        with pytest.raises(pymysql.MySQLError, match="1045"):
            log_in(server, site)  # taken without complaint, and never matched
    else:
        assert current_account(server, site) == f"{NAME}@{network}/24"


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
    assert apply_grants(server, [replace(wanted, hosts=(*wanted.hosts, "10.9.9.8"))], plan)
    drop(server, Account("dba", "10.9.9.7"))


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


@pytest.mark.parametrize("mode", ["", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"])
def test_15_names_and_passwords_of_any_characters_come_back_exactly(
    server: Database, bed: Bed, mode: str
) -> None:
    execute(server, f"SET GLOBAL sql_mode = '{mode}'")
    odd = SiteAccess(
        "odd", "O'B`r\"i\\e_n%", "o'B`r\"i\\e_n%" + "x" * 20, SecretStr("a'b\"c\\d%s`e\\"), (bed.controller,)
    )
    try:
        assert len(odd.user) == 32
        converge(server, odd)
        assert not find_drift([odd], plain_facts(server))
        with polling(server, odd):
            converge(server, replace(odd, hosts=(*odd.hosts, ELSEWHERE)))
        rows = {there.account for there in ours(server, odd.user)}
        assert rows == {Account(odd.user, ELSEWHERE), Account(odd.user, bed.controller)}
    finally:
        forget(server, odd.user)
        forget(server, odd.database)
        execute(server, "SET GLOBAL sql_mode = DEFAULT")


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


def test_18_what_all_meant_is_taken_back_and_an_explicit_set_stays(
    server: Database, site: SiteAccess
) -> None:
    grant(server, at(site, site.hosts[0]), owned(site), "ALL")
    (row,) = find_drift([site], plain_facts(server)).rows
    assert row.kind == "EXTRA"
    with polling(server, site):
        assert kinds(converge(server, site)) == ["revoke"]
    (rights,) = [r for r in plain_facts(server).rights if r.account.user == NAME]
    assert rights.privileges == set(SITE_PRIVILEGES)


def test_20_an_ipv6_address_has_one_spelling(server: Database, site: SiteAccess) -> None:
    wanted = replace(site, hosts=(*site.hosts, "fd00::5"))
    converge(server, wanted)
    with pytest.raises(PlanRefused, match="not one exact address"):
        plan_grants([replace(site, hosts=("fd00:0:0:0:0:0:0:5",))], plain_facts(server))
    assert kinds(converge(server, site, drop_stale=True)) == ["lock", "drop account"]


def test_rights_of_ours_on_anything_else_are_taken_back_or_told(server: Database, site: SiteAccess) -> None:
    account = at(site, site.hosts[0])
    execute(server, "CREATE DATABASE site_b", "CREATE TABLE site_b.t (n INT)")
    grant(server, account, "site\\_b")
    execute(server, f"GRANT SELECT ON site_b.t TO `{NAME}`@`{account.host}`")
    details = {row.detail for row in find_drift([site], plain_facts(server)).rows if row.kind == "EXTRA"}
    assert details == {"may SELECT on 'site\\\\_b'", "has rights on the table site_b.t"}
    with polling(server, site):
        assert kinds(converge(server, site)) == ["revoke"]


def test_a_staged_account_cannot_be_used_and_a_leftover_goes(server: Database, site: SiteAccess) -> None:
    create(server, at(site, STAGING_HOST))
    assert kinds(converge(server, site)) == ["drop account"]


def test_an_administrator_is_never_adopted(server: Database, site: SiteAccess, bed: Bed) -> None:
    other = access_named("site_b", bed.controller)
    create(server, Account("site_b", "%"))
    execute(server, "GRANT ALL ON *.* TO `site_b`@`%`", f"GRANT `{MARKER_ROLE}` TO `site_b`@`%`")
    with pytest.raises(PlanRefused, match="never touched"):
        plan_grants([other], plain_facts(server), adopt=True, drop_stale=True)
    # The other site has nothing to do with it.
    wanted = replace(site, hosts=(*site.hosts, ELSEWHERE))
    plan = plan_grants([wanted, other], plain_facts(server), adopt=True)
    assert plan.sites == {NAME}
    assert "never touched" in plan.refused[0]


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


def ours(server: Database, user: str = NAME) -> list[object]:
    found = [there for there in plain_facts(server).accounts if there.account.user == user]
    return sorted(found, key=lambda there: there.account)


def respell(server: Database, site: SiteAccess, pattern: str, privileges: str) -> None:
    """As somebody would have granted it by hand, or another tool."""
    host = site.hosts[0]
    execute(server, f"REVOKE {ALL} ON `{owned(site)}`.* FROM `{NAME}`@`{host}`")
    grant(server, at(site, host), pattern, privileges)


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
