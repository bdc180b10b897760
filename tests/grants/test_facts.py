"""The parsers: what servers answer, as they answer it."""

import pytest

from tasks.errors import PlanRefused
from tasks.grants.discover import canonical_address, parse_refusal
from tasks.grants.facts import parse_accounts, parse_rights, parse_server
from tasks.grants.values import Account


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


def test_an_account_is_ours_when_it_holds_the_mark_and_its_digest_is_not_shown() -> None:
    users = [
        {"User": "s", "Host": "10.0.0.1", "is_role": "N", "plugin": "p", "authentication_string": "*DIGEST"},
        {"User": "s", "Host": "10.0.0.2", "is_role": "N", "plugin": "p", "Password": "*DIGEST"},
        {"User": "packmaster_managed", "Host": "", "is_role": "Y"},
    ]
    accounts = parse_accounts(users, [{"user": "s", "host": "10.0.0.1"}])
    assert [(a.account, a.managed) for a in accounts] == [
        (Account("s", "10.0.0.1"), True),
        (Account("s", "10.0.0.2"), False),
    ]
    assert "DIGEST" not in repr(accounts)


def test_privileges_get_their_sql_names() -> None:
    row = {"User": b"s", "Host": "h", "Db": "a\\_b", "Select_priv": "Y", "Drop_priv": "N"}
    row |= {"Create_tmp_table_priv": "Y", "Show_view_priv": "Y", "Grant_priv": "Y"}
    (rights,) = parse_rights([row])
    assert rights.privileges == {"SELECT", "CREATE TEMPORARY TABLES", "SHOW VIEW", "GRANT OPTION"}
    assert rights.pattern == "a\\_b"
