"""What others did to the rights of sites, as an operator sees it and has it put right, on both servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from blocks import Cluster, DatabaseServer
from flows.reconcile_grants import reconcile_grants
from tasks.grants import user_name
from tests.nodes.fleet import change_nothing, fail, fleet, saved, succeed, wait_until
from tests.nodes.granted import ALL
from tests.nodes.visited import NODES, Visited, visited

__all__ = ["fleet", "visited"]


def test_a_right_that_was_revoked_by_hand_is_shown_and_given_again(visited: Visited, root_sql: Any) -> None:
    name, key = visited.server.name, visited.platform
    database = visited.site.credentials().database.replace("_", "\\_")
    root_sql(name, f"REVOKE SELECT, INSERT ON `{database}`.* FROM {visited.account}")
    with visited.fleet.untouched():
        succeed(reconcile_grants, database=visited.site.database, dry_run=True)
    assert visited.matrix(key) == {"site": visited.uri, "web1": "MISSING", "web3": "ok", "site-wide": ""}
    (row,) = visited.fleet.table(f"drift-grants-of-{key}")
    assert (row["kind"], row["site"], row["server"]) == ("MISSING", visited.uri, key)
    assert "INSERT, SELECT" in row["detail"]
    assert "MISSING 1" in fail(
        reconcile_grants, database=visited.site.database, dry_run=True, fail_on_drift=True
    )
    outcomes = succeed(reconcile_grants, target=Cluster.load("access-web"))
    assert {o.host for o in outcomes.changed} == {key}
    assert {o.host for o in outcomes} == {key, *NODES}
    change_nothing(reconcile_grants, database=visited.site.database, fail_on_drift=True)
    assert set(visited.matrix(key).values()) == {visited.uri, "ok", ""}
    for event in ("drift", "repaired"):
        resource = f"packmaster.grants.{key}"
        assert wait_until(lambda e=event, r=resource: visited.fleet.events(f"packmaster.grants.{e}", r))


def respell(visited: Visited, root_sql: Any) -> None:
    """Every right of the site's accounts is on the unescaped name of its database, as by hand."""
    database, user = visited.site.credentials().database, user_name(visited.uri)
    escaped, name = database.replace("_", "\\_"), visited.server.name
    for host in root_sql(name, f"SELECT Host FROM mysql.user WHERE User = '{user}'").split():
        root_sql(
            name,
            f"GRANT {ALL} ON `{database}`.* TO `{user}`@`{host}`; "
            f"REVOKE {ALL} ON `{escaped}`.* FROM `{user}`@`{host}`",
        )


def patterns(visited: Visited, root_sql: Any) -> set[str]:
    user = user_name(visited.uri)
    rows = root_sql(visited.server.name, f"SELECT HEX(Db) FROM mysql.db WHERE User = '{user}'").split()
    return {bytes.fromhex(row).decode() for row in rows}


def test_rights_on_an_unescaped_name_are_escaped_and_no_visitor_notices(
    visited: Visited, root_sql: Any
) -> None:
    """The logins that prove it come before the wide right goes, and are let in elsewhere by it until then."""
    database = visited.site.credentials().database
    respell(visited, root_sql)
    with visited.visitors():
        # The account of setup-sql may not take what it did not give: the escaped right is there all the same.
        assert "1044" in fail(reconcile_grants, site=visited.site)
        assert patterns(visited, root_sql) == {database, database.replace("_", "\\_")}
        registered = DatabaseServer.load(visited.platform)
        mighty = {"admin_user": visited.server.admin_user, "admin_password": visited.server.admin_password}
        saved(registered.model_copy(update=mighty), visited.platform)
        try:
            outcomes = succeed(reconcile_grants, site=visited.site)
        finally:
            saved(registered, visited.platform)
    steps = [outcome.step for outcome in outcomes]
    assert steps.index("take access back") < len(steps) - 1
    assert set(steps[steps.index("take access back") + 1 :]) == {"check logins"}
    assert patterns(visited, root_sql) == {database.replace("_", "\\_")}
    change_nothing(reconcile_grants, site=visited.site, fail_on_drift=True)


def test_a_run_without_logins_sees_that_every_password_is_another(visited: Visited, root_sql: Any) -> None:
    user, name = user_name(visited.uri), visited.server.name
    hosts = root_sql(name, f"SELECT Host FROM mysql.user WHERE User = '{user}'").split()
    root_sql(name, f"ALTER USER `{user}`@`{hosts[0]}` IDENTIFIED BY 'by-a-hand'")
    for host in hosts[1:]:
        stored = root_sql(
            name, f"SELECT HEX(authentication_string) FROM mysql.user WHERE User = '{user}' "
            f"AND Host = '{hosts[0]}'"
        ).strip()  # fmt: skip
        way = f"WITH caching_sha2_password AS 0x{stored}"
        if name == "db":
            way = f"VIA mysql_native_password USING '{bytes.fromhex(stored).decode()}'"
        root_sql(name, f"ALTER USER `{user}`@`{host}` IDENTIFIED {way}")
    assert "WRONG_HASH 2" in fail(reconcile_grants, site=visited.site, dry_run=True, fail_on_drift=True)
    assert visited.matrix(visited.uri.replace(".", "-"))["web1"] == "WRONG_HASH"
    succeed(reconcile_grants, site=visited.site)
    assert visited.fleet.bodies(visited.uri, names=NODES) == ["42", "42"]


def test_an_account_that_is_gone_is_there_again_and_strangers_are_reported_and_left(
    visited: Visited, root_sql: Any
) -> None:
    name, stranger = visited.server.name, f"`{user_name(visited.uri)}`@`%`"
    root_sql(name, f"DROP USER {visited.account}")
    root_sql(name, f"CREATE USER {stranger} IDENTIFIED BY 'a-dbas-own'")
    try:
        assert visited.fleet.get("web1", visited.uri).status == 500
        said = fail(reconcile_grants, site=visited.site)
        assert "ADOPTION_REQUIRED" in said
        shown = visited.fleet.lines(f"drift-grants-of-{visited.uri.replace('.', '-')}")
        assert any("ADOPTION_REQUIRED" in line for line in shown)
    finally:
        root_sql(name, f"DROP USER {stranger}")
    succeed(reconcile_grants, site=visited.site)
    assert visited.fleet.bodies(visited.uri, names=NODES) == ["42", "42"]
    # Not every site there is: other tests have registered some on servers that are nowhere.
    change_nothing(reconcile_grants, database=visited.site.database)


def test_a_node_that_is_silent_is_named_and_keeps_its_access(
    visited: Visited,
    root_sql: Any,
    docker_pause: Callable[[str], None],
    docker_unpause: Callable[[str], None],
) -> None:
    if visited.server.name == "dbmysql":
        pytest.skip("the silence of a node is the same for both servers")
    name, user = visited.server.name, user_name(visited.uri)
    root_sql(name, f"ALTER USER {visited.account} ACCOUNT LOCK")
    docker_pause("web3")
    said = fail(reconcile_grants, site=visited.site)
    assert "web3" in said
    assert "web1" not in said
    docker_unpause("web3")
    assert visited.matrix(visited.uri.replace(".", "-"))["web3"] == "?"
    hosts = root_sql(name, f"SELECT Host FROM mysql.user WHERE User = '{user}'").split()
    assert set(hosts) == {visited.fleet.node(node).address for node in NODES}
    assert visited.fleet.bodies(visited.uri, names=NODES) == ["42", "42"]
    change_nothing(reconcile_grants, site=visited.site)


def test_what_a_replica_lacks_is_shown_and_fails_the_run(
    visited: Visited, request: Any, root_sql: Any
) -> None:
    if visited.server.name != "db":
        pytest.skip("the bed has a replica of MariaDB alone")
    replica = request.getfixturevalue("replica")
    admin = {"admin_user": replica.database.admin_user, "admin_password": replica.database.admin_password}
    saved(DatabaseServer(host=replica.database.host, **admin), "access-db2")
    writer = DatabaseServer.load(visited.platform)
    saved(writer.model_copy(update={"replicas": ["access-db2"]}), visited.platform)
    database = visited.site.credentials().database.replace("_", "\\_")
    right = f"SELECT ON `{database}`.*"
    try:
        # One that cannot be read is none that has everything, also where nothing is to be done.
        wrong = {**admin, "admin_password": SecretStr("not-this-one")}
        saved(DatabaseServer(host=replica.database.host, **wrong), "access-db2")
        assert "access-db2" in fail(reconcile_grants, site=visited.site, dry_run=True)
        saved(DatabaseServer(host=replica.database.host, **admin), "access-db2")
        change_nothing(reconcile_grants, site=visited.site)
        root_sql("db2", f"SET sql_log_bin = 0; REVOKE {right} FROM {visited.account}")
        said = fail(reconcile_grants, site=visited.site)
        assert "access-db2" in said
        (row,) = visited.fleet.table(f"drift-grants-of-{visited.uri.replace('.', '-')}")
        assert (row["kind"], row["server"]) == ("REPLICA_MISSING", "access-db2")
    finally:
        root_sql("db2", f"SET sql_log_bin = 0; GRANT {right} TO {visited.account}")
        saved(writer, visited.platform)


def test_only_one_scope_may_be_given(visited: Visited) -> None:
    assert "Choose one" in fail(reconcile_grants, site=visited.site, database=visited.site.database)
