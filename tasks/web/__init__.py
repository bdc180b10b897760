"""Vhosts on the web servers, as tasks: read what is configured, install a plan, ask for the sites.

The functions behind them are in facts.py, plan.py, apply.py, install.py and check.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from tasks.fleet import Node
from tasks.outcome import Outcome
from tasks.ssh import connect
from tasks.steps import fact_task, host_task
from tasks.web import apply, check, facts, install
from tasks.web.check import SiteCheck, SiteFailed, check_site
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
    "DataMount",
    "NameConflict",
    "ServerConfig",
    "SiteCheck",
    "SiteFailed",
    "Vhost",
    "WebPlan",
    "check_site",
    "check_sites",
    "find_name_conflicts",
    "install_config",
    "plan_web",
    "read_web_config",
    "reload_php",
]


@fact_task("read web configuration", run_name="read web configuration of {node.name}")
def read_web_config(node: Node) -> ServerConfig:
    """Return what is configured and loaded on the node."""
    return facts.read_web_facts(connect(node))


@host_task("install web configuration", run_name="install web configuration on {node.name}")
def install_config(node: Node, plan: WebPlan, checks: Sequence[SiteCheck] = ()) -> Outcome:
    """The plan's configuration is loaded and its sites and `checks` answer, or the last good one is back."""
    return install.install_config(node, plan, checks)


@host_task("check sites", run_name="check sites on {node.name}")
def check_sites(node: Node, checks: Sequence[SiteCheck]) -> Outcome:
    """Every site was asked for on this node with its own name."""
    return check.check_sites(node, checks)


@host_task("reload php", run_name="reload php on {node.name}")
def reload_php(node: Node) -> Outcome:
    """php-fpm sees what `current` points to now."""
    return apply.reload_php(node)
