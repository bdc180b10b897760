"""A site's password as an operator changes it, on both kinds of server: no visitor notices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import SecretStr

from blocks import Site
from flows import rotate_password as rotating
from flows.add_site import add_site
from flows.reconcile_grants import reconcile_grants
from flows.rotate_password import rotate_password
from flows.verify_platform import verify_platform
from tasks.errors import PlanRefused
from tasks.grants import Rotation, user_name
from tasks.grants.rotate import _accepted, verify_refused
from tests.nodes.children import KILLED, running
from tests.nodes.fleet import change_nothing, fail, fleet, succeed, wait_until
from tests.nodes.grant_tools import plain_facts
from tests.nodes.visited import NODES, Visited, visited

__all__ = ["fleet", "visited"]


def secrets_of(site: Site) -> list[str]:
    passwords = (site.database_password, site.pending_password, site.retiring_password)
    return [password.get_secret_value() for password in passwords]


def test_a_password_is_changed_and_no_visitor_notices(visited: Visited) -> None:
    (old, *_), uri = secrets_of(visited.site), visited.uri
    with visited.visitors():
        succeed(rotate_password, site=visited.site, dry_run=True)
        assert secrets_of(visited.site) == [old, "", ""]
        outcomes = succeed(rotate_password, site=visited.site, drain_seconds=1)
    new, *others = secrets_of(visited.site)
    assert new != old
    assert others == ["", ""]
    refused = [o for o in outcomes if o.step == "check old password"]
    assert {o.host for o in refused} == set(NODES)
    change_nothing(verify_platform, platform=visited.fleet.platform(visited.platform))
    change_nothing(reconcile_grants, site=visited.site)
    assert wait_until(
        lambda: visited.fleet.events("packmaster.site.password_rotated", f"packmaster.site.{uri}")
    )
    for what in ("flow_runs", "task_runs", "logs", "artifacts"):
        for record in visited.fleet.listing(what):
            assert not [each[:4] for each in (old, new) if each in str(record)], (what, record)


CUTS = ("check_login", "serve_everywhere", "accept_new_password", "check_refused")


class Cut:
    """A step at which the run ends, as if the worker had been killed there."""

    def submit(self, *_: object) -> None:
        raise PlanRefused("killed here")

    map = __call__ = submit


@pytest.mark.parametrize("step", CUTS)
def test_a_rotation_that_was_cut_off_is_finished_and_no_visitor_notices(
    visited: Visited, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if visited.server.name == "dbmysql" and step not in CUTS[:2]:
        pytest.skip("what is kept in the block, and when, is the same for both servers")
    before = secrets_of(visited.site)[0]
    with visited.visitors():
        with monkeypatch.context() as patch:
            patch.setattr(rotating, step, Cut())
            assert "killed here" in fail(rotate_password, site=visited.site, drain_seconds=1)
        cut = set(secrets_of(visited.site)) - {""}
        assert before in cut
        assert len(cut) == 2
        # Whatever else is run in between neither undoes it nor locks anybody out.
        if step in CUTS[:2]:
            succeed(verify_platform, platform=visited.fleet.platform(visited.platform))
            succeed(add_site, uri=visited.uri, platform=visited.site.platform, database=visited.site.database)
        succeed(rotate_password, site=visited.site, drain_seconds=1)
    assert secrets_of(visited.site) == [(cut - {before}).pop(), "", ""]
    change_nothing(verify_platform, platform=visited.fleet.platform(visited.platform))


# By statements: MariaDB takes one an account and phase, MySQL one a phase.
KILLED_AFTER = {"db": (1, 2, 4), "dbmysql": (0, 1, 2)}
DIES = """
import os, signal
from tasks.grants import rotate

change, changed = rotate._run, 0

def change_and_die(*what):
    global changed
    if {after}:
        change(*what)
    changed += 1
    if changed >= {after}:
        os.kill(os.getpid(), signal.SIGKILL)

rotate._run = change_and_die
"""


def passwords_taken(visited: Visited, rotation: Rotation) -> set[str]:
    """What the accounts of the site take, whatever their order."""
    facts = plain_facts(visited.server)
    found = [_accepted(rotation, each) for each in facts.accounts if each.account.user == rotation.user]
    assert len(found) == len(NODES)
    return {"+".join(sorted(each.secrets)) for each in found}


def test_a_rotation_killed_at_any_statement_goes_on_and_no_visitor_notices(visited: Visited) -> None:
    """The process of the flow, by kill -9: before, between and after the statements that change passwords."""
    user, name = user_name(visited.uri), visited.server.name
    states = {1: {"old", "new+old"}, 2: {"new+old"}, 4: {"new"}}
    if name == "dbmysql":
        states = {0: {"old"}, 1: {"new+old"}, 2: {"new"}}
    with visited.visitors(pause=0.05):
        for after in KILLED_AFTER[name]:
            before = secrets_of(visited.site)[0]
            dies = DIES.format(after=after)
            with running("rotate_password", first=dies, site=visited.site, drain_seconds=1) as child:
                said = child.wait(240)
                assert child.process.exitcode == KILLED, (after, said)
            (new,) = {*secrets_of(visited.site)} - {"", before}
            rotation = Rotation(user, SecretStr(before), SecretStr(new))
            assert passwords_taken(visited, rotation) == states[after]
            visited.fleet.release_locks(visited.platform)
            succeed(rotate_password, site=visited.site, drain_seconds=1)
            assert secrets_of(visited.site) == [new, "", ""]
            assert passwords_taken(visited, rotation) == {"new"}
            for node in NODES:
                verify_refused(visited.fleet.node(node), visited.server, user, rotation.old)
    change_nothing(reconcile_grants, site=visited.site)


def test_a_node_that_is_silent_keeps_a_password_from_being_changed(
    visited: Visited, docker_kill: Callable[[str], None], docker_start: Callable[[str], None]
) -> None:
    if visited.server.name == "dbmysql":
        pytest.skip("the silence of a node is the same for both servers")
    before = secrets_of(visited.site)
    docker_kill("web3")
    assert "web3" in fail(rotate_password, site=visited.site)
    assert secrets_of(visited.site) == before
    docker_start("web3")
    change_nothing(reconcile_grants, site=visited.site)
