"""The parsers: what servers answer, as they answer it."""

from dataclasses import replace
from typing import Any

import pymysql
import pytest
from pydantic import SecretStr

from tasks.errors import PlanRefused
from tasks.grants.discover import canonical_address, parse_refusal
from tasks.grants.facts import (
    mark_accounts,
    parse_mariadb_account,
    parse_mysql_account,
    parse_rights,
    parse_server,
    see_source,
)
from tasks.grants.plan import plan_grants
from tasks.grants.values import MARKER_ROLE, Account, AccountFacts
from tests.grants.grant_server import SERVER


@pytest.mark.parametrize(
    ("code", "message", "host"),
    [
        (1045, "Access denied for user 'probe'@'10.1.2.3' (using password: NO)", "10.1.2.3"),
        (1045, "Access denied for user 'o'@'x'@'fd00::5' (using password: NO)", "fd00::5"),
        (1698, "Access denied for user 'probe'@'10.1.2.3'", "10.1.2.3"),
        (1130, "Host '10.1.2.3' is not allowed to connect to this MariaDB server", "10.1.2.3"),
        (1130, "Host 'web1.lan' is not allowed to connect to this MySQL server", "web1.lan"),
        (1129, "Host '10.1.2.3' is blocked because of many connection errors", None),
        (2013, "Lost connection to MySQL server during query", None),
        (1045, "something else altogether", None),
    ],
)
def test_a_refusal_names_the_host(code: int, message: str, host: str | None) -> None:
    assert parse_refusal(code, message) == host


@pytest.mark.parametrize(
    ("seen", "canonical"),
    [("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.1", "10.0.0.1"), ("FD00:0:0::1", "fd00::1")],
)
def test_an_address_has_one_spelling(seen: str, canonical: str) -> None:
    assert canonical_address(seen) == canonical


@pytest.mark.parametrize(
    "seen", ["web1.lan", "%", "", "localhost", "127.0.0.1", "::1", "::ffff:127.0.0.1", "0.0.0.0"]
)
def test_what_is_no_address_of_a_node_is_refused(seen: str) -> None:
    with pytest.raises(PlanRefused):
        canonical_address(seen)


def test_servers_are_told_apart() -> None:
    assert parse_server("10.11.19-MariaDB-0+deb12u1", "Debian 12", {}).kind == "mariadb"
    mysql = parse_server("9.7.4", "MySQL Community Server", {"partial_revokes": "ON", "read_only": "ON"})
    assert (mysql.kind, mysql.literal_names, mysql.read_only) == ("mysql", True, True)


def test_mariadb_keeps_an_account_as_json_with_every_way_to_log_in() -> None:
    text = (
        '{"access": 1024, "plugin": "mysql_native_password", "authentication_string": "*ONE", '
        '"auth_or": [{"plugin": "ed25519", "authentication_string": "two"}, {}], "account_locked": true}'
    )
    found = parse_mariadb_account("s", "10.0.0.1", text)
    assert found is not None
    assert (found.plugin, found.locked, found.privileges) == ("mysql_native_password", True, {"GRANT OPTION"})
    assert found.digest.get_secret_value() == "*ONE"
    assert [(plugin, secret.get_secret_value()) for plugin, secret in found.others] == [("ed25519", "two")]
    assert "ONE" not in repr(found)
    assert "two" not in repr(found)
    assert parse_mariadb_account("r", "", '{"is_role": true}') is None


def test_mysql_keeps_a_second_password_and_says_what_is_locked() -> None:
    row = (b"s", "10.0.0.1", "caching_sha2_password", b"$A$005$x", "Y", "$A$005$old", "NY")
    found = parse_mysql_account(row, ("Select_priv", "Super_priv"))
    assert (found.locked, found.privileges, len(found.others)) == (True, {"SUPER"}, 1)
    assert "old" not in repr(found)


def test_an_account_is_ours_when_it_holds_the_mark_and_does_not_administer_it() -> None:
    accounts = [
        AccountFacts(Account(user, "10.0.0.1"), managed=False, plugin="p", digest=SecretStr(""))
        for user in ("ours", "foreign", "admin", "reader", MARKER_ROLE)
    ]
    roles = [
        ("ours", "10.0.0.1", MARKER_ROLE, "N", "N"),
        ("ours", "10.0.0.1", "reporting", "N", "Y"),
        ("admin", "10.0.0.1", MARKER_ROLE, "Y", "N"),
    ]
    dynamic = [("reader", "10.0.0.1", "SYSTEM_USER")]
    ours, foreign, admin, reader = mark_accounts(accounts, roles, dynamic)
    assert (ours.managed, ours.roles, ours.active_role) == (True, ("reporting",), True)
    assert not foreign.managed
    assert not admin.managed
    assert reader.privileges == {"SYSTEM_USER"}


def test_privileges_get_their_sql_names() -> None:
    columns = ["Select_priv", "Drop_priv", "Create_tmp_table_priv", "Show_view_priv", "Grant_priv"]
    (rights,) = parse_rights([(b"s", "h", "a\\_b", "YNYYY")], columns)
    assert rights.privileges == {"SELECT", "CREATE TEMPORARY TABLES", "SHOW VIEW", "GRANT OPTION"}
    assert rights.pattern == "a\\_b"


def test_a_newer_server_with_more_privileges_gives_the_same_rights() -> None:
    """What was granted explicitly stays what it is when an upgrade adds a column."""
    old = parse_rights([("s", "h", "a", "YY")], ["Select_priv", "Insert_priv"])
    new = parse_rights([("s", "h", "a", "YYN")], ["Select_priv", "Insert_priv", "Show_create_routine_priv"])
    assert old == new


def test_the_state_of_a_cluster_and_of_a_replica_is_recorded() -> None:
    status = {"wsrep_cluster_status": "non-Primary", "wsrep_local_state_comment": "Initialized"}
    assert parse_server("10.11-MariaDB", "", {"wsrep_on": "ON"}, status).galera == "non-Primary/Initialized"
    assert parse_server("10.11-MariaDB", "", {"wsrep_on": "OFF"}, status).galera == ""
    for ready, cut_off in (("ON", False), ("OFF", True)):
        member = parse_server("10.11-MariaDB", "", {"wsrep_on": "ON"}, {**status, "wsrep_ready": ready})
        assert member.cut_off is cut_off
    assert not parse_server("10.11-MariaDB", "", {"wsrep_on": "OFF"}, {"wsrep_ready": "OFF"}).cut_off
    assert parse_server("10.11-MariaDB", "", {}, {"Slave_running": "ON"}).follows
    assert parse_server("9.7", "", {"super_read_only": "ON", "lower_case_table_names": "1"}).read_only
    assert parse_server("9.7", "", {"lower_case_table_names": "1"}).folds_case


def test_a_replica_is_one_also_while_it_is_stopped() -> None:
    stopped = parse_server("10.11-MariaDB", "", {}, {"Slave_running": "OFF"})
    running = parse_server("10.11-MariaDB", "", {}, {"Slave_running": "ON"})
    denied = pymysql.err.OperationalError(1227, "Access denied; you need the REPLICA MONITOR privilege")

    def refuse(_: str) -> tuple[tuple[Any, ...], ...]:
        raise denied

    assert see_source(lambda _: (("db1", "", "No", "No"),), stopped).follows
    assert not see_source(lambda _: (), stopped).follows
    # Who may not look knows no more than the status says, and says so.
    assert (see_source(refuse, stopped).follows, see_source(refuse, stopped).shows_source) == (False, False)
    assert see_source(refuse, running).follows
    assert "GRANT REPLICA MONITOR" in str(
        plan_grants([], replace(SERVER, server=see_source(refuse, stopped)))
    )
    assert "GRANT" not in str(plan_grants([], SERVER))
    # A member without a cluster answers nothing else, and is refused for that.
    lost = replace(stopped, cut_off=True)
    assert see_source(refuse, lost) == lost
    denied.args = (2013, "Lost connection")
    with pytest.raises(pymysql.MySQLError):
        see_source(refuse, stopped)
