"""What it takes to join and to leave, and who may not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import SecretStr

from tasks.errors import PlanRefused
from tasks.fleet import Machine, Node, Share, Target
from tasks.membership.facts import AccountIds, parse_ids
from tasks.membership.plan import choose_ids, plan_joining, plan_leaving, refuse_leaving

KEY = SecretStr("key")
NFS = Machine("nfs1", "192.0.2.61", "nfs", KEY, ("k",))
SHARE = Share("files", NFS, NFS.address, "/srv/packmaster/files/platforms", "/srv/packmaster/files/sites")
NODES = tuple(
    Node(name, f"192.0.2.{n}", "apache", KEY, ("k",)) for n, name in enumerate(("web1", "web2"), 11)
)
CLUSTER = Target("web", NODES)
PACK = Target("farm", NODES, "web1", SHARE)
PLATFORMS: dict[str, tuple[str, ...]] = {"blog": ("a.example", "b.example"), "bare": ()}


def test_a_server_is_listed_last_and_prepared_first() -> None:
    steps = plan_joining(CLUSTER, "web2", PLATFORMS, ready=False, listed=False).steps
    assert steps[0] == "prepare it as a web server"
    assert steps[-1] == "list it in web"
    assert "stage and switch the current release of blog" in steps
    assert "configure, grant and ask for a.example, b.example" in steps
    assert not any("share" in step for step in steps)


def test_a_slave_sees_what_the_master_wrote() -> None:
    steps = plan_joining(PACK, "web2", PLATFORMS, ready=True, listed=False).steps
    assert steps[0] == "export share files to it, and mount it"
    assert "see the current release of blog" in steps
    assert not any("stage" in step or "prepare" in step for step in steps)


def test_what_is_left_on_a_server_that_serves_others_too() -> None:
    plan = plan_leaving(PACK, "web2", ("a.example",), listed=True, elsewhere=("cluster other",))
    assert plan.steps[0] == "take it off the list of farm"
    assert any("unmount share files" in step for step in plan.steps)
    assert plan.steps[-1] == "leave our key there: it serves cluster other, too"
    assert [row["step"] for row in plan.as_rows()] == list(plan.steps)
    assert all(step in str(plan) for step in plan.steps)
    last = plan_leaving(CLUSTER, "web2", (), listed=False, elsewhere=())
    assert last.steps == ("remove our key from the platform user's",)


@pytest.mark.parametrize(
    ("target", "server", "said"),
    [
        (PACK, "web1", "web1 is the master of pack farm"),
        (PACK, "web2", "web2 is the last slave of farm"),
        (replace(CLUSTER, nodes=NODES[:1]), "web1", "web1 is the last server of web"),
    ],
)
def test_who_may_not_leave(target: Target, server: str, said: str) -> None:
    with pytest.raises(PlanRefused, match=said):
        refuse_leaving(target, server)


def test_who_may_leave() -> None:
    refuse_leaving(CLUSTER, "web1")
    refuse_leaving(CLUSTER, "gone-already")


def test_ids_are_those_of_the_members() -> None:
    assert parse_ids("5000\n5001\n") == AccountIds(5000, 5001)
    assert choose_ids({"web2": AccountIds(1, 1), "web1": AccountIds(2, 2)}, "web2") == AccountIds(2, 2)
    with pytest.raises(PlanRefused, match="no other member answers"):
        choose_ids({"web2": AccountIds(1, 1)}, "web2")
