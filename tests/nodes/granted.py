"""A site that has all it needs on a database server of each kind in turn, and what there is of its accounts.

The host that the site is on is this machine, whose logins come from where the tests run: what needs several
nodes is in test_grants_nodes.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tasks.fleet import Database
from tasks.grants.values import SITE_PRIVILEGES, Account, AccountFacts, SiteAccess
from tests.nodes.grant_tools import access_named, converge, forget, plain_facts, polling

if TYPE_CHECKING:
    from tests.nodes.conftest import Bed

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


@pytest.fixture
def never_refused(server: Database, site: SiteAccess) -> Iterator[None]:
    """All through the test, the site logs in and reads. Not for what takes its access by hand."""
    with polling(server, site, "SELECT * FROM polled"):
        yield


def at(access: SiteAccess, host: str) -> Account:
    return Account(access.user, host)


def ours(server: Database, user: str = NAME) -> list[AccountFacts]:
    found = [there for there in plain_facts(server).accounts if there.account.user == user]
    return sorted(found, key=lambda there: there.account)
