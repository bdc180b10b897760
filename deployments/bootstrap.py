"""Make a Prefect server ready for Packmaster: block types, work pool, deployments. Safe to repeat."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists

from blocks import BLOCK_TYPES
from tasks.errors import PackmasterError

DEPLOYMENTS = Path(__file__).with_name("prefect.yaml")
DEPLOY_SECONDS = 300


def bootstrap_server(pool: str) -> Iterator[str]:
    """Register what Packmaster needs with the Prefect server of the current profile; yields what was done.

    Raises PackmasterError with the deploy command's own words when a deployment cannot be registered.
    """
    for block_type in BLOCK_TYPES:
        block_type.register_type_and_schema()
    yield f"{len(BLOCK_TYPES)} block types are registered"
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
            yield f"work pool {pool} was created"
        except ObjectAlreadyExists:
            yield f"work pool {pool} exists"
    yield deploy_flows(pool)


def deploy_flows(pool: str) -> str:
    """Create or update every deployment of prefect.yaml on the work pool; returns a sentence about it."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    command += ["--prefect-file", str(DEPLOYMENTS)]
    # prefect.yaml names the pool by this variable, so that a second pool can run the same deployments.
    environment = {**os.environ, "PACKMASTER_POOL": pool, "PREFECT_CLI_COLORS": "false"}
    deployed = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=DEPLOY_SECONDS, check=False
    )
    if deployed.returncode != 0:
        raise PackmasterError(
            f"the deployments could not be registered:\n{(deployed.stdout + deployed.stderr).strip()[-3000:]}"
        )
    return f"deployments are registered on the work pool {pool}"
