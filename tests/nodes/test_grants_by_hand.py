"""Accounts and rights that somebody made or changed by hand: shown, put right, or left to whom they belong.

Each test says what the servers do; where they differ, it says so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pymysql
import pytest

from tasks.errors import PlanRefused
from tasks.fleet import Database
from tasks.grants.drift import find_drift
from tasks.grants.plan import plan_grants
from tasks.grants.values import MARKER_ROLE, SITE_PRIVILEGES, STAGING_HOST, Account, SiteAccess
from tests.nodes.grant_tools import (
    SECRET,
    access_named,
    converge,
    create,
    current_account,
    drop,
    execute,
    grant,
    kinds,
    log_in,
    owned,
    plain_facts,
    polling,
)
from tests.nodes.granted import ELSEWHERE, NAME, at, ours, server, site

if TYPE_CHECKING:
    from tests.nodes.conftest import Bed

__all__ = ["server", "site"]


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
