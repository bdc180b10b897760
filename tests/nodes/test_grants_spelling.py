"""Names, patterns and addresses as others spell them in grants, on both servers, and how we spell them.

Each test says what the servers do; where they differ, it says so.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pymysql
import pytest
from pydantic import SecretStr

from tasks.errors import PlanRefused
from tasks.fleet import Database
from tasks.grants.drift import find_drift
from tasks.grants.plan import plan_grants
from tasks.grants.values import Account, SiteAccess
from tests.nodes.grant_tools import (
    access_named,
    converge,
    create,
    current_account,
    drift_kinds,
    execute,
    forget,
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
        # The setting is MySQL's alone; that names are escaped on MariaDB is what the other tests here say.
        pytest.skip("MariaDB has no partial_revokes")
    root_sql(server.name, "SET GLOBAL partial_revokes = ON; FLUSH PRIVILEGES")
    try:
        site = access_named(NAME, bed.controller)
        given = [step.pattern for step in converge(server, site).steps if step.kind == "grant"]
        assert given == [NAME]
        rows = execute(server, f"SELECT Db FROM mysql.db WHERE User = '{NAME}'", as_text=True)
        assert rows == [(NAME,)]
        with polling(server, site):
            # An escaped name is another name now: it gives nothing, and goes.
            grant(server, at(site, site.hosts[0]), owned(site), "SELECT")
            assert kinds(converge(server, site)) == ["revoke"]
    finally:
        forget(server, NAME)
        root_sql(server.name, "SET GLOBAL partial_revokes = OFF; FLUSH PRIVILEGES")


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
        # Taken without complaint, and never matched. 1698 where the account whose place the stranger gets in
        # the handshake, so that nobody learns which names exist, is one without a password.
        with pytest.raises(pymysql.MySQLError, match=r"1045|1698"):
            log_in(server, site)
    else:
        assert current_account(server, site) == f"{NAME}@{network}/24"


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


@pytest.mark.usefixtures("never_refused")
def test_20_an_ipv6_address_has_one_spelling(server: Database, site: SiteAccess) -> None:
    wanted = replace(site, hosts=(*site.hosts, "fd00::5"))
    converge(server, wanted)
    with pytest.raises(PlanRefused, match="not one exact address"):
        plan_grants([replace(site, hosts=("fd00:0:0:0:0:0:0:5",))], plain_facts(server))
    assert kinds(converge(server, site, drop_stale=True)) == ["lock", "drop account"]


def respell(server: Database, site: SiteAccess, pattern: str, privileges: str) -> None:
    """As somebody would have granted it by hand, or another tool."""
    host = site.hosts[0]
    execute(server, f"REVOKE {ALL} ON `{owned(site)}`.* FROM `{NAME}`@`{host}`")
    grant(server, at(site, host), pattern, privileges)
