"""What a run on a real server leaves in the log: every statement, and nothing that is secret."""

from __future__ import annotations

from dataclasses import replace

from tasks.fleet import Database
from tasks.grants.apply import apply_grants
from tasks.grants.plan import plan_grants
from tasks.grants.statements import shown
from tasks.grants.values import SiteAccess
from tests.nodes.grant_tools import SECRET, converge, execute, facts_of, grant, kinds
from tests.nodes.granted import ELSEWHERE, NAME, at, ours, server, site

__all__ = ["server", "site"]


def test_every_statement_that_was_run_is_told_and_no_secret_is(server: Database, site: SiteAccess) -> None:
    converge(server, replace(site, hosts=(*site.hosts, ELSEWHERE)))
    execute(server, f"ALTER USER `{NAME}`@`{site.hosts[0]}` IDENTIFIED BY 'by-a-hand'")
    grant(server, at(site, site.hosts[0]), NAME)
    wanted, told, done = replace(site, hosts=(*site.hosts, "10.9.9.8")), list[str](), []
    plan = plan_grants([wanted], facts_of(server, wanted), drop_stale=True, thorough=True)
    assert set(kinds(plan)) > {"create account", "cut in", "alter", "revoke", "lock", "drop account"}
    for removals in (False, True):
        done += apply_grants(server, [wanted], plan, removals=removals, tell=told.append)
    assert done == [*plan.steps]
    lines = [line for text in told for line in text.splitlines()]
    assert [line for line in lines if line in {*map(shown, done)}] == [*map(shown, done)]
    digests = [there.digest.get_secret_value() for there in ours(server)]
    assert all(digests)
    as_hex = [digest.encode().hex().upper() for digest in digests]
    for secret in (SECRET.get_secret_value(), *digests, *as_hex):
        assert secret not in str(told)
