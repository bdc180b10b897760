"""A password changed on both kinds of server while somebody logs in all the time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from tasks.errors import Drift, PackmasterError, PlanRefused
from tasks.fleet import Database, Node
from tasks.grants.apply import apply_grants
from tasks.grants.connection import open_admin
from tasks.grants.facts import read_grant_facts
from tasks.grants.plan import plan_grants
from tasks.grants.rotate import (
    Rotation,
    _accepted,
    _accounts_of,
    _choose_digests,
    _run,
    apply_rotation,
    plan_password_rotation,
    verify_refused,
)
from tasks.grants.rotation import RotationPlan, Secret, take_step
from tasks.grants.values import Account, GrantFacts, RemovedAccess, SiteAccess, database_name, user_name
from tasks.grants.verify import verify_login
from tests.nodes.prepared import node_of

if TYPE_CHECKING:
    from tests.nodes.conftest import Bed
    from tests.nodes.databases import RootSql

URI = "rotated.example.org"
USER = user_name(URI)
OLD, NEW, NEWEST = SecretStr("the-old-one"), SecretStr("the-new-one"), SecretStr("the-newest-one")


@dataclass
class Poller:
    """Logs in from every node, again and again, with the password that is `served` at the moment."""

    nodes: tuple[Node, ...]
    database: Database
    access: SiteAccess
    failures: list[str] = field(default_factory=list)
    logins: Counter[str] = field(default_factory=Counter)

    def serve(self, password: SecretStr) -> None:
        """Switch, and return when nobody is on the way any more who set out with the old one."""
        self.wait_for(2)
        self.access = replace(self.access, password=password)
        self.wait_for(2)

    @contextmanager
    def running(self) -> Iterator[None]:
        ended = threading.Event()
        threads = [threading.Thread(target=self._poll, args=(node, ended)) for node in self.nodes]
        for thread in threads:
            thread.start()
        try:
            yield
            self.wait_for(2)
        finally:
            ended.set()
            for thread in threads:
                thread.join(30)

    def wait_for(self, more: int) -> None:
        """Return when so many further logins were made from each node, also from one that is slow."""
        before = self.logins.copy()
        while any(self.logins[n.name] < before[n.name] + more for n in self.nodes) and not self.failures:
            threading.Event().wait(0.01)

    def _poll(self, node: Node, ended: threading.Event) -> None:
        while not ended.is_set():
            try:
                verify_login(node, self.database, self.access)
                self.logins[node.name] += 1
            except PackmasterError as failure:
                self.failures.append(str(failure))
                return


@pytest.fixture(scope="module")
def nodes(bed: Bed) -> tuple[Node, ...]:
    return tuple(node_of(bed, name).as_admin() for name in ("web1", "web2"))


@pytest.fixture
def access(nodes: tuple[Node, ...], database_server: Database) -> Iterator[SiteAccess]:
    """A site that two nodes reach with the old password."""
    hosts = tuple(node.address for node in nodes)
    access = SiteAccess(URI, database_name(URI), USER, OLD, hosts)
    give(database_server, access)
    yield access
    give(database_server, RemovedAccess(URI, access.database, USER))


def give(database: Database, *desired: SiteAccess | RemovedAccess) -> None:
    plan = plan_grants(desired, facts_of(database))
    apply_grants(database, desired, plan)
    apply_grants(database, desired, plan, removals=True)


def facts_of(database: Database) -> GrantFacts:
    with closing(open_admin(database)) as connection:
        return read_grant_facts(connection, database.name)


def plan_of(database: Database, rotation: Rotation) -> RotationPlan:
    return plan_password_rotation(rotation, facts_of(database))


def accepted_on(database: Database, rotation: Rotation) -> dict[Account, tuple[Secret, ...]]:
    found = [_accepted(rotation, there) for there in _accounts_of(rotation, facts_of(database))]
    return {each.account: each.secrets for each in found}


def rotate(database: Database, old: SecretStr, new: SecretStr, between: Callable[[], None]) -> RotationPlan:
    rotation = Rotation(USER, old, new)
    plan = plan_of(database, rotation)
    apply_rotation(database, rotation, plan, "opening")
    between()
    apply_rotation(database, rotation, plan, "closing")
    assert not plan_of(database, rotation)
    return plan


def test_nobody_is_refused_while_the_password_changes_twice(
    nodes: tuple[Node, ...], database_server: Database, access: SiteAccess
) -> None:
    poller = Poller(nodes, database_server, access)

    with poller.running():
        poller.wait_for(2)
        assert rotate(database_server, OLD, NEW, lambda: poller.serve(NEW))
        poller.wait_for(2)
        rotate(database_server, NEW, NEWEST, lambda: poller.serve(NEWEST))
    assert not poller.failures
    for node in nodes:
        for dead in (OLD, NEW):
            verify_refused(node, database_server, USER, dead)
        with pytest.raises(Drift, match="still log in") as alive:
            verify_refused(node, database_server, USER, NEWEST)
        assert NEWEST.get_secret_value() not in str(alive.value)
    assert not plan_grants([replace(access, password=NEWEST)], facts_of(database_server))


def test_a_rotation_killed_after_any_statement_goes_on(
    nodes: tuple[Node, ...], database_server: Database, access: SiteAccess
) -> None:
    """And the servers do with each statement what the planner believes."""
    rotation = Rotation(USER, OLD, NEW)
    count = len(plan_of(database_server, rotation).steps)
    for killed_after in range(1, count + 1):
        plan, state = plan_of(database_server, rotation), accepted_on(database_server, rotation)
        assert set(state.values()) == {("old",)}
        with closing(open_admin(database_server)) as connection:
            values = _choose_digests(rotation, facts_of(database_server))
            for step in plan.steps[:killed_after]:
                _run(connection, step, values, database_server.name)
                state = take_step(state, step)
                assert accepted_on(database_server, rotation) == state, step
        rotate(database_server, OLD, NEW, lambda: None)
        digests = {
            a.digest.get_secret_value() for a in facts_of(database_server).accounts if a.account.user == USER
        }
        assert len(digests) == 1, "the accounts of one site do not store the same"
        verify_login(nodes[1], database_server, replace(access, password=NEW))
        rotate(database_server, NEW, OLD, lambda: None)


def test_what_an_earlier_rotation_left_does_not_survive(
    nodes: tuple[Node, ...], database_server: Database, access: SiteAccess, root_sql: RootSql
) -> None:
    """As somebody's script leaves it: the password that is used is the second one."""
    left = SecretStr("left-over-from-a-script")
    account = f"'{USER}'@'{nodes[0].address}'"
    by_hand = {
        "dbmysql": f"ALTER USER {account} IDENTIFIED BY '{left.get_secret_value()}' RETAIN CURRENT PASSWORD",
        "db": f"ALTER USER {account} IDENTIFIED VIA mysql_native_password USING PASSWORD('"
        f"{left.get_secret_value()}') OR mysql_native_password USING PASSWORD('{OLD.get_secret_value()}')",
    }
    root_sql(database_server.name, by_hand[database_server.name])
    poller = Poller(nodes, database_server, access)
    with poller.running():
        rotate(database_server, OLD, NEW, lambda: poller.serve(NEW))
    assert not poller.failures
    for dead in (OLD, left):
        verify_refused(nodes[0], database_server, USER, dead)


def test_an_account_that_can_have_no_two_passwords_is_refused(
    database_server: Database, access: SiteAccess, root_sql: RootSql
) -> None:
    account = f"'{USER}'@'{access.hosts[0]}'"
    other = "WITH sha256_password BY 'x'" if database_server.name == "dbmysql" else "VIA unix_socket"
    root_sql(database_server.name, f"ALTER USER {account} IDENTIFIED {other}")
    with pytest.raises(PlanRefused, match="logs in by"):
        plan_of(database_server, Rotation(USER, OLD, NEW))


def test_accounts_that_are_not_ours_are_not_rotated(
    database_server: Database, access: SiteAccess, root_sql: RootSql
) -> None:
    stranger = f"'{USER}'@'10.9.9.9'"
    root_sql(database_server.name, f"CREATE USER {stranger} IDENTIFIED BY '{OLD.get_secret_value()}'")
    steps = plan_of(database_server, Rotation(USER, OLD, NEW)).steps
    root_sql(database_server.name, f"DROP USER {stranger}")
    assert {account.host for step in steps for account in step.accounts} == {*access.hosts}
