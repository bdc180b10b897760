"""deploy-platform: bring the next release of a registered platform to every server of its target.

Trigger: by hand, by another system after a merge, or for a platform that the inventory registered.
Effect: as create-platform, with everything but the git ref taken from the platform's block.
Rollback: automatic when a switch, a reload or a site fails on any server. Later: run rollback-platform.
Safe to re-run? Yes, at any point and after a kill. When the content is already current, nothing is done.
3 a.m.: if it failed, the fleet still serves what it served; the outcome table names the server and why.
"""

from __future__ import annotations

from prefect.client.schemas.objects import State

from blocks import Platform
from flows.create_platform import Quorum
from flows.operation import operation
from flows.release import deploy
from tasks.outcome import Outcomes


@operation("deploy-platform", runbook=__doc__, run_name="deploy {platform.name}")
def deploy_platform(
    platform: Platform, ref: str = "", quorum: Quorum = None, dry_run: bool = False
) -> State[Outcomes]:
    """Bring the next release of a registered platform to every server of its target.

    Args:
        platform: The platform to deploy.
        ref: Another branch, tag or commit than the registered one; it becomes the registered one.
        quorum: How many servers must have the release before it is switched; empty for all of them.
        dry_run: Only show what would be done.
    """
    wanted = platform.model_copy(update={"ref": ref}) if ref else platform
    return deploy(wanted, platform, quorum=quorum, composer=True, dry_run=dry_run)
