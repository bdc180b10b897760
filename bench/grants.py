"""How long it takes to keep many sites' database access right: `python -m bench.grants`.

On real servers, MariaDB and MySQL, with the accounts of 1,000 sites on 10 nodes. Beside ours: Ansible's
community.mysql.mysql_user, and a GRANT per host and site as Aegir does, on some of the same accounts.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass

import click
import pymysql
from pydantic import SecretStr

from bench import bed as beds
from bench.contender import cpu_seconds
from bench.grant_load import load_accounts, unload_accounts
from bench.grant_report import Timing, write_markdown
from bench.grant_rivals import AegirGrants, AnsibleUsers
from tasks.fleet import Database
from tasks.grants.apply import apply_grants
from tasks.grants.connection import open_admin
from tasks.grants.facts import read_grant_facts
from tasks.grants.plan import plan_grants
from tasks.grants.statements import quote_account, quote_identifier
from tasks.grants.values import Account, SiteAccess, database_name, user_name

PROJECT, NET, STATE = "packmaster-bench-grants", "10.213.36", beds.HOME / "grants"
SERVERS = {"mariadb": ("db", f"{NET}.20"), "mysql": ("dbmysql", f"{NET}.21")}
ANSIBLE = beds.HOME / "ansible-mysql"


@dataclass(frozen=True, slots=True)
class Fleet:
    """The sites and what they need. No node of theirs has to exist: their addresses are what counts."""

    sites: int
    nodes: int
    sample: int

    def accesses(self, nodes: int = 0) -> list[SiteAccess]:
        """What every site needs with so many nodes (by default all); the same in every run."""
        return self._numbered(range(self.sites), nodes)

    def some(self) -> list[SiteAccess]:
        """The sites that the slower ways are measured on: none of the many, beside which they are made."""
        return self._numbered(range(self.sites, self.sites + self.sample))

    def _numbered(self, numbers: range, nodes: int = 0) -> list[SiteAccess]:
        hosts = tuple(f"10.99.{number // 250}.{number % 250 + 1}" for number in range(nodes or self.nodes))
        return [
            SiteAccess(uri, database_name(uri), user_name(uri), SecretStr(f"bench-{number:06}-{uri}"), hosts)
            for number in numbers
            for uri in (f"site-{number:05}.bench.example",)
        ]


class Bench:
    """Measures on one server; every timing is printed as soon as it is there."""

    def __init__(self, kind: str, database: Database, fleet: Fleet, say: Callable[[str], None]) -> None:
        self.kind, self.database, self.fleet, self.say = kind, database, fleet, say
        self.timings: list[Timing] = []
        self.counter = open_admin(database)

    def run(self) -> None:
        """Everything, from an empty server to an empty server."""
        everyone, some = self.fleet.accesses(), self.fleet.some()
        with self._sites_removed_afterwards(everyone):
            with closing(open_admin(self.database)) as connection:
                load_accounts(connection, self.kind, everyone)
            self._measure("nothing to do, first read", "ours", everyone, self._converge)
            self._measure("nothing to do", "ours", everyone, self._converge)
            self._damage(everyone)
            self._measure("1 % drift repaired", "ours", everyone, self._converge)
            self._measure("nothing to do", "ours", everyone, self._converge)
            more = self.fleet.accesses(self.fleet.nodes + 1)
            self._measure("one node added", "ours", more, self._converge)
            self._measure("nothing to do", "ours", more, self._converge)
            # Beside all the others, for what one statement costs depends on how many accounts there are.
            self._compare(some)

    def _compare(self, some: Sequence[SiteAccess]) -> None:
        """The same few sites by every way, new and then with nothing to do."""
        ways: tuple[tuple[str, Callable[[Sequence[SiteAccess]], None]], ...] = (
            ("ours", self._converge),
            ("ansible", AnsibleUsers(self.database, ANSIBLE, salted=self.kind == "mysql").apply),
            ("aegir", AegirGrants(self.database).apply),
        )
        for way, apply in ways:
            with self._sites_removed_afterwards(some):
                self._measure("sample, all new", way, some, apply)
                self._measure("sample, nothing to do", way, some, apply)

    def _measure(
        self,
        scenario: str,
        way: str,
        accesses: Sequence[SiteAccess],
        apply: Callable[[Sequence[SiteAccess]], None],
    ) -> None:
        before, spent, started = self._questions(), cpu_seconds(), time.perf_counter()
        apply(accesses)
        seconds, cpu = time.perf_counter() - started, cpu_seconds() - spent
        accounts = sum(len(access.hosts) for access in accesses)
        queries = self._questions() - before - 1
        timing = Timing(self.kind, scenario, way, accounts, seconds, cpu, queries)
        self.timings.append(timing)
        self.say(f"{self.kind}: {scenario}: {way}: {seconds:.2f} s, {cpu:.2f} CPU, {queries} queries")

    def _converge(self, accesses: Sequence[SiteAccess]) -> None:
        """What the reconciler does on a database server: read, plan, give, and take away what is too much."""
        with closing(open_admin(self.database)) as connection:
            facts = read_grant_facts(connection, self.database.name)
        plan = plan_grants(accesses, facts)
        if plan.additions:
            apply_grants(self.database, accesses, plan)
        if plan.removals:
            apply_grants(self.database, accesses, plan, removals=True)

    def _damage(self, accesses: Sequence[SiteAccess]) -> None:
        """A third of one in a hundred accounts each is dropped, lacks rights, has another password."""
        every = [Account(a.user, host) for a in accesses for host in a.hosts]
        chosen = random.Random(1).sample(every, max(3, len(every) // 100))
        databases = {access.user: access.database.replace("_", "\\_") for access in accesses}
        with self._cursor() as cursor:
            for number, account in enumerate(chosen):
                who, name = quote_account(account), quote_identifier(databases[account.user])
                cursor.execute(
                    (
                        f"DROP USER {who}",
                        f"REVOKE INSERT, DELETE ON {name}.* FROM {who}",
                        f"ALTER USER {who} IDENTIFIED BY 'another-password'",
                    )[number % 3]
                )

    @contextmanager
    def _sites_removed_afterwards(self, accesses: Sequence[SiteAccess]) -> Iterator[None]:
        try:
            yield
        finally:
            with closing(open_admin(self.database)) as connection:
                unload_accounts(connection, self.kind, accesses)

    def _questions(self) -> int:
        # Always the same connection, so that counting costs one query each time.
        with self.counter.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
            row = cursor.fetchone()
        return int(row[1]) if row else 0

    @contextmanager
    def _cursor(self) -> Iterator[pymysql.cursors.Cursor]:
        with closing(open_admin(self.database)) as connection, connection.cursor() as cursor:
            yield cursor


@click.command()
@click.option("--sites", default=1000, type=click.IntRange(min=10), show_default=True)
@click.option("--nodes", default=10, type=click.IntRange(1, 2000), show_default=True)
@click.option(
    "--sample", default=10, type=click.IntRange(min=1), help="Sites for the rivals.", show_default=True
)
@click.option("--only", type=click.Choice(list(SERVERS)), help="One server instead of both.")
@click.option("--keep", is_flag=True, help="Leave the servers running.")
def main(*, sites: int, nodes: int, sample: int, only: str | None, keep: bool) -> None:
    """Measure database access: all new, nothing to do, 1 % drift, one node more. Prints the tables."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    fleet, chosen = Fleet(sites, nodes, sample), [only] if only else list(SERVERS)
    STATE.mkdir(parents=True, exist_ok=True)
    timings: list[Timing] = []
    try:
        beds.run_nodes("up", *(SERVERS[kind][0] for kind in chosen), project=PROJECT, net=NET, state=STATE)
        password = SecretStr((STATE / "db_admin_password").read_text(encoding="ascii").strip())
        for kind in chosen:
            name, host = SERVERS[kind]
            bench = Bench(
                kind,
                Database(name, host, "packmaster", password),
                fleet,
                lambda line: click.echo(line, err=True),
            )
            bench.run()
            timings += bench.timings
    finally:
        if not keep:
            beds.run_nodes("down", project=PROJECT, net=NET, state=STATE)
    results = beds.HOME / "results"
    results.mkdir(parents=True, exist_ok=True)
    (results / "grants.json").write_text(json.dumps([asdict(t) for t in timings], indent=2), encoding="utf-8")
    text = write_markdown(timings, sites, nodes)
    (results / "grants.md").write_text(text, encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
