"""Database access of sites: discovered, planned, granted, and proven from every node."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from tasks.fleet import Database, Node
from tasks.grants.apply import apply_grants, outcome_of
from tasks.grants.connection import open_admin
from tasks.grants.discover import discover_client_addresses
from tasks.grants.facts import read_grant_facts
from tasks.grants.plan import GrantPlan, plan_grants
from tasks.grants.values import (
    SITE_PRIVILEGES,
    Desired,
    GrantFacts,
    RemovedAccess,
    SiteAccess,
    database_name,
    user_name,
)
from tasks.grants.verify import verify_login
from tasks.outcome import Outcome
from tasks.steps import fact_task, host_task

__all__ = [
    "SITE_PRIVILEGES",
    "Desired",
    "GrantFacts",
    "GrantPlan",
    "RemovedAccess",
    "SiteAccess",
    "check_login",
    "database_name",
    "find_addresses",
    "give_access",
    "plan_grants",
    "read_grants",
    "take_access_back",
    "user_name",
]


@fact_task("find addresses", run_name="find {node.name}'s address at {database.name}")
def find_addresses(node: Node, database: Database) -> tuple[str, ...]:
    """The addresses that `database` sees `node` under are known."""
    return discover_client_addresses(node, database)


@fact_task("read grants", run_name="read grants of {database.name}")
def read_grants(database: Database) -> GrantFacts:
    """The accounts, rights and databases of the server are known."""
    with closing(open_admin(database)) as connection:
        return read_grant_facts(connection, database.name)


@host_task("give access", run_name="give access on {database.name}")
def give_access(database: Database, desired: Sequence[Desired], plan: GrantPlan) -> Outcome:
    """Every database and account of the plan exists with its rights; nothing has been taken away."""
    return outcome_of(database, "give access", apply_grants(database, desired, plan))


@host_task("check login", run_name="log in to {database.name} from {node.name}")
def check_login(node: Node, database: Database, access: SiteAccess) -> Outcome:
    """The site's credentials work from the node, in its own database and nowhere else."""
    account = verify_login(node, database, access)
    return Outcome(node.name, "check login", detail=f"{account} reaches {access.database} and nothing else")


@host_task("take access back", run_name="take access back on {database.name}")
def take_access_back(database: Database, desired: Sequence[Desired], plan: GrantPlan) -> Outcome:
    """What the plan revokes and drops is gone."""
    return outcome_of(database, "take access back", apply_grants(database, desired, plan, removals=True))
