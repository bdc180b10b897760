"""Database access of sites: discovered, planned, granted, and proven from every node."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import closing

from prefect import get_run_logger

from tasks.fleet import Database, Node
from tasks.grants.apply import apply_grants, outcome_of, read_facts_for
from tasks.grants.budget import Budget, BudgetExceeded
from tasks.grants.connection import open_admin
from tasks.grants.discover import NodeAddresses, Sightings, discover_client_addresses, sight
from tasks.grants.drift import GrantDrift, find_drift, find_unregistered
from tasks.grants.grant_plan import GrantPlan, Policy
from tasks.grants.plan import plan_grants, plan_with
from tasks.grants.replicas import wait_for_replica
from tasks.grants.rotate import Rotation, apply_rotation, plan_password_rotation, verify_refused
from tasks.grants.rotation import RotationPlan
from tasks.grants.values import (
    SITE_PRIVILEGES,
    Desired,
    GrantFacts,
    RemovedAccess,
    SiteAccess,
    database_name,
    user_name,
)
from tasks.grants.verify import verify_login, verify_logins
from tasks.outcome import Outcome
from tasks.steps import fact_task, host_task

__all__ = [
    "SITE_PRIVILEGES",
    "Budget",
    "BudgetExceeded",
    "Desired",
    "GrantDrift",
    "GrantFacts",
    "GrantPlan",
    "Policy",
    "RemovedAccess",
    "Rotation",
    "RotationPlan",
    "Sightings",
    "SiteAccess",
    "accept_new_password",
    "check_login",
    "check_logins",
    "check_refused",
    "check_replica",
    "database_name",
    "find_addresses",
    "find_drift",
    "find_unregistered",
    "give_access",
    "plan_grants",
    "plan_password_rotation",
    "plan_with",
    "read_grants",
    "retire_old_password",
    "sight",
    "take_access_back",
    "user_name",
]


@fact_task("find addresses", run_name="find {node.name}'s address at {database.name}")
def find_addresses(node: Node, database: Database) -> NodeAddresses:
    """The addresses that `database` sees `node` under are known, and which of its readers did not say."""
    return discover_client_addresses(node, database)


@fact_task("read grants", run_name="read grants of {database.name}")
def read_grants(database: Database, desired: Sequence[Desired] = ()) -> GrantFacts:
    """The accounts, rights and databases of the server are known, and what stale accounts define."""
    with closing(open_admin(database)) as connection:
        return read_facts_for(connection, database.name, desired)


@host_task("give access", run_name="give access on {database.name}")
def give_access(database: Database, desired: Sequence[Desired], plan: GrantPlan) -> Outcome:
    """Every database and account of the plan exists with its rights; nothing has been taken away."""
    done = apply_grants(database, desired, plan, tell=get_run_logger().info)
    return outcome_of(database, "give access", done)


@host_task("check login", run_name="log in to {database.name} from {node.name}")
def check_login(node: Node, database: Database, access: SiteAccess) -> Outcome:
    """The site's credentials work from the node, in its own database and nowhere else."""
    account = verify_login(node, database, access)
    return Outcome(node.name, "check login", detail=f"{account} reaches {access.database} and nothing else")


@host_task("check logins", run_name="log in to {database.name} from {node.name}")
def check_logins(
    node: Node, database: Database, accesses: Sequence[SiteAccess], wide: Collection[str] = ()
) -> Outcome:
    """Every site's credentials work from the node, in its own database and, but for `wide`, in no other."""
    return verify_logins(node, database, accesses, wide)


@host_task("check replica", run_name="check grants on {replica.name}")
def check_replica(replica: Database, desired: Sequence[Desired], actual: GrantFacts) -> Outcome:
    """What `actual`, the writer, has of `desired` is on the replica too, or on the cluster's other node."""
    return wait_for_replica(replica, desired, actual)


@host_task("take access back", run_name="take access back on {database.name}")
def take_access_back(database: Database, desired: Sequence[Desired], plan: GrantPlan) -> Outcome:
    """What the plan revokes, locks and drops is gone."""
    done = apply_grants(database, desired, plan, removals=True, tell=get_run_logger().info)
    return outcome_of(database, "take access back", done)


@host_task("accept new password", run_name="accept {rotation.user}'s new password on {database.name}")
def accept_new_password(database: Database, rotation: Rotation, plan: RotationPlan) -> Outcome:
    """Every account of the site takes the new password, and still the old one."""
    done = apply_rotation(database, rotation, plan, "opening")
    detail = ", ".join(map(str, done)) or "it is accepted already"
    return Outcome(database.name, "accept new password", bool(done), detail)


@host_task("retire old password", run_name="retire {rotation.user}'s old password on {database.name}")
def retire_old_password(database: Database, rotation: Rotation, plan: RotationPlan) -> Outcome:
    """No account of the site takes anything but the new password."""
    done = apply_rotation(database, rotation, plan, "closing")
    detail = ", ".join(map(str, done)) or "it was retired already"
    return Outcome(database.name, "retire old password", bool(done), detail)


@host_task("check old password", run_name="try {rotation.user}'s old password from {node.name}")
def check_refused(node: Node, database: Database, rotation: Rotation) -> Outcome:
    """A login with the old password was tried from the node, and refused."""
    verify_refused(node, database, rotation.user, rotation.old)
    return Outcome(node.name, "check old password", detail=f"{database.name} refuses it")
