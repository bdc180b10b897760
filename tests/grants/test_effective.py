"""Which account a login becomes, and which row decides. Held against real servers in tests/nodes."""

import pytest
from pydantic import SecretStr

from tasks.grants.effective import applied_rights, host_matches, login_account, pattern_matches
from tasks.grants.spelling import escape_pattern, is_spelling_of
from tasks.grants.values import Account, AccountFacts, DatabaseRights, ServerFacts

MARIADB, MYSQL = ServerFacts("mariadb", "10.11"), ServerFacts("mysql", "9.7")
LITERAL = ServerFacts("mysql", "9.7", literal_names=True)


@pytest.mark.parametrize(
    ("host", "address", "matches"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.10", False),
        ("10.0.0.%", "10.0.0.10", True),
        ("%", "fd00::5", True),
        ("", "10.0.0.1", True),
        ("fd00::5", "fd00::5", True),
        ("fd00:0:0:0:0:0:0:5", "fd00::5", False),
        ("10.0.0.0/255.255.255.0", "10.0.0.1", True),
        ("10.0.0.1/255.255.255.0", "10.0.0.1", False),
        ("localhost", "127.0.0.1", False),
        ("web1", "10.0.0.1", False),
    ],
)
def test_hosts_match_as_on_both_servers(host: str, address: str, matches: bool) -> None:
    assert host_matches(host, address, MARIADB) is host_matches(host, address, MYSQL) is matches


def test_only_mysql_knows_networks_by_their_length() -> None:
    assert host_matches("10.0.0.0/24", "10.0.0.1", MYSQL)
    assert not host_matches("10.0.0.0/24", "10.0.0.1", MARIADB)


@pytest.mark.parametrize(
    ("pattern", "database", "matches"),
    [
        ("a_b", "axb", True),
        ("a\\_b", "axb", False),
        ("a\\_b", "a_b", True),
        ("a%", "abc", True),
        ("A", "a", False),
    ],
)
def test_patterns_match_names(pattern: str, database: str, matches: bool) -> None:
    assert pattern_matches(pattern, database, MARIADB) is matches
    assert pattern_matches(pattern, database, LITERAL) is (pattern == database)


def test_a_network_hides_behind_an_anonymous_address_on_mysql_alone() -> None:
    accounts = [
        AccountFacts(Account(user, host), managed=False, plugin="p", digest=SecretStr(""))
        for user, host in (("u", "10.0.0.0/255.255.255.0"), ("", "10.0.0.1"))
    ]
    assert login_account(accounts, "u", "10.0.0.1", MYSQL) == Account("", "10.0.0.1")
    assert login_account(accounts, "u", "10.0.0.1", MARIADB) == Account("u", "10.0.0.0/255.255.255.0")
    assert login_account(accounts, "u", "10.9.0.1", MARIADB) is None


def test_one_row_decides_even_when_it_gives_less() -> None:
    account = Account("u", "10.0.0.1")
    escaped = DatabaseRights(account, "a\\_b", frozenset({"SELECT"}))
    wild = DatabaseRights(account, "a_b", frozenset({"SELECT", "INSERT"}))
    broad = DatabaseRights(Account("u", "%"), "a\\_b", frozenset({"DROP"}))
    for server in (MARIADB, MYSQL):
        assert applied_rights([broad, wild, escaped], "u", "10.0.0.1", "a_b", server) == escaped
        assert applied_rights([broad, wild], "u", "10.0.0.1", "a_b", server) == wild
        assert applied_rights([broad], "u", "10.0.0.1", "a_b", server) == broad
        assert applied_rights([broad], "u", "10.0.0.1", "other", server) is None


@pytest.mark.parametrize("name", ["a", "a_b", "a%", "a\\b", "_", "a\\_b"])
def test_a_spelling_is_recognised_and_matches_its_name_alone(name: str) -> None:
    assert is_spelling_of(escape_pattern(name), name)
    assert is_spelling_of(name, name)
    assert pattern_matches(escape_pattern(name), name, MARIADB)
    assert not pattern_matches(escape_pattern(name), f"{name}x", MARIADB)
