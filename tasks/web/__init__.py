"""Vhosts on the web servers, as tasks: read what is configured, install a plan, ask for the sites.

The functions behind them are in facts.py, plan.py, apply.py, install.py and check.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasks.fleet import Node
from tasks.outcome import Outcome
from tasks.ssh import connect
from tasks.steps import fact_task, host_task
from tasks.web import check, facts, install
from tasks.web.check import Answering, SiteCheck, SiteFailed, check_site
from tasks.web.plan import (
    DataMount,
    NameConflict,
    ServerConfig,
    Vhost,
    WebPlan,
    find_name_conflicts,
    plan_web,
)

__all__ = [
    "Answering",
    "DataMount",
    "NameConflict",
    "ServerConfig",
    "SiteCheck",
    "SiteFailed",
    "Vhost",
    "WebPlan",
    "check_site",
    "check_sites",
    "find_answering",
    "find_name_conflicts",
    "install_config",
    "plan_web",
    "read_web_config",
    "restore_config",
    "test_config",
]


@fact_task("read web configuration", run_name="read web configuration of {node.name}")
def read_web_config(node: Node) -> ServerConfig:
    """Return what is configured and loaded on the node."""
    return facts.read_web_facts(connect(node))


@host_task("test web configuration", run_name="test web configuration on {node.name}")
def test_config(node: Node, plan: WebPlan) -> Outcome:
    """The plan's configuration is staged on the node and its web server accepts it."""
    return install.test_config(node, plan)


@host_task("restore web configuration", run_name="restore web configuration on {node.name}")
def restore_config(node: Node, plan: WebPlan) -> Outcome:
    """The configuration from before the plan is live and loaded again."""
    return install.restore_config(node, plan)


@host_task("install web configuration", run_name="install web configuration on {node.name}")
def install_config(node: Node, plan: WebPlan, checks: Sequence[SiteCheck] = ()) -> Outcome:
    """The plan's configuration is loaded and its sites and `checks` answer, or the last good one is back."""
    return install.install_config(node, plan, checks)


@fact_task("find answering sites", run_name="find answering sites on {node.name}")
def find_answering(node: Node, checks: Sequence[SiteCheck]) -> Answering:
    """Return the checks that hold on the node now, and why others do not."""
    return check.find_answering(node, checks)


@host_task("check sites", run_name="check sites on {node.name}")
def check_sites(node: Node, checks: Sequence[SiteCheck], generation: str | None = None) -> Outcome:
    """Every site was asked for on this node with its own name; `generation` is what it was reloaded with."""
    return check.check_sites(node, checks, generation)
