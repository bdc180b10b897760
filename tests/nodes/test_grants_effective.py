"""The model of which account and which row decide, held against what the servers do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from tasks.fleet import Database
from tasks.grants.effective import applied_rights, login_account
from tasks.grants.statements import quote_account
from tasks.grants.values import Account
from tests.nodes.grant_tools import access_named, create, drop, execute, grant, log_in, plain_facts

if TYPE_CHECKING:
    from tests.nodes.conftest import Bed

USER, DATABASE = "model", "m_b"
# MySQL does not say which of two patterns that begin alike comes first, so there are none that do.
PATTERNS = ("m\\_b", "m_b", "m\\_b%", "%", "mx")
PROOFS = {
    "SELECT": "SELECT 1 FROM `m_b`.nowhere",
    "INSERT": "INSERT INTO `m_b`.nowhere VALUES (1)",
    "UPDATE": "UPDATE `m_b`.nowhere SET a = 1",
    "DELETE": "DELETE FROM `m_b`.nowhere",
}
TRIES = 12


@pytest.fixture
def hosts(bed: Bed, database_server: Database) -> Iterator[list[str]]:
    """Every kind of host that fits this machine, and a network in both spellings."""
    net = bed.controller.rpartition(".")[0]
    found = [bed.controller, f"{net}.0/255.255.255.0", f"{net}.0/24", f"{net}.%", "10.%", "%"]
    execute(database_server, f"CREATE DATABASE IF NOT EXISTS `{DATABASE}`")
    yield found
    drop(database_server, *(Account(user, host) for user in (USER, "") for host in found))
    execute(database_server, f"DROP DATABASE `{DATABASE}`")


@pytest.mark.parametrize("seed", range(TRIES))
def test_the_model_says_what_the_server_does(
    database_server: Database, bed: Bed, hosts: list[str], seed: int
) -> None:
    chance = random.Random(seed)
    if plain_facts(database_server).server.kind == "mariadb":
        # A network and an address are equally specific there for a right, and nothing says which comes first.
        hosts = hosts[seed % 2 :][:1] + hosts[2:]
    accounts = [Account(user, host) for user in (USER, "") for host in hosts if chance.random() < 0.4]
    for account in accounts:
        create(database_server, account)
        for pattern in chance.sample(PATTERNS, chance.randint(0, 3)):
            grant(database_server, account, pattern, ", ".join(chance.sample(sorted(PROOFS), 2)))
    facts = plain_facts(database_server)
    expected = login_account(facts.accounts, USER, bed.controller, facts.server)
    try:
        connection = log_in(database_server, access_named(USER))
    except pymysql.MySQLError:
        assert expected is None, f"{expected} of {accounts} is refused"
        return
    with closing(connection):
        user, _, host = str(ask(connection, "SELECT CURRENT_USER()")).rpartition("@")
        assert Account(user, host) == expected, f"of {[quote_account(a) for a in accounts]}"
        row = applied_rights(facts.rights, user, bed.controller, DATABASE, facts.server)
        allowed = {name for name, proof in PROOFS.items() if is_allowed(connection, proof)}
        assert allowed == (row.privileges if row else set()), f"{row} of {facts.rights}"


def ask(connection: Any, query: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def is_allowed(connection: Any, proof: str) -> bool:
    """Who may is told that there is no such table; who may not is denied before anybody looks."""
    try:
        ask(connection, proof)
    except pymysql.MySQLError as error:
        return bool(error.args[0] == 1146)
    return True
