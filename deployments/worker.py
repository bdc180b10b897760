"""A process worker that can be replaced while its runs go on.

`prefect worker start` (3.9) ends its runs when it is stopped, so each upgrade of a worker would crash what it
is doing. Here the first SIGTERM only ends the taking of runs; the worker leaves when the last of its own has
ended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import httpx
from prefect.logging import get_logger
from prefect.logging.configuration import setup_logging
from prefect.settings import get_current_settings
from prefect.workers.process import ProcessWorker

from deployments.certificates import certificates_for

log = get_logger("worker")
# How often it looks whether its last run has ended.
LEAVING_SECONDS = 1.0


async def serve(pool: str, name: str | None, limit: int, alive: Path | None = None) -> None:
    """Run what the pool gives, at most `limit` at once, until SIGTERM or SIGINT; then until those have ended.

    A server that does not answer is asked again, for as long as it takes: runs that go on are not given up.
    `alive` is touched whenever the server was asked, so that its age says whether the worker is well.
    """
    setup_logging()
    settings = get_current_settings()
    # Its runs inherit it.
    os.environ |= certificates_for(settings.api.url or "", settings.home)
    leaving = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, leaving.set)
    async with ProcessWorker(
        work_pool_name=pool, name=name, limit=limit, create_pool_if_not_found=False
    ) as worker:
        log.info("worker %s takes runs of the pool %s", worker.name, pool)
        heard = time.monotonic()
        while not leaving.is_set() or worker.limiter.borrowed_tokens:
            if time.monotonic() - heard > settings.worker.heartbeat_seconds:
                heard = time.monotonic()
                await ask_again(worker, alive, sync=True)
            if not leaving.is_set():
                await ask_again(worker, alive, sync=False)
            pause = LEAVING_SECONDS if leaving.is_set() else settings.worker.query_seconds
            await rest(leaving, pause, worker)
    log.info("worker %s has left", worker.name)


async def ask_again(worker: ProcessWorker, alive: Path | None, *, sync: bool) -> None:
    """The server knows that the worker is there (`sync`) or gave it the runs that are due, or is silent."""
    try:
        if sync:
            await worker.sync_with_backend()
        else:
            await worker.get_and_submit_flow_runs()
    except httpx.HTTPError as silent:
        log.warning("the Prefect server gives no answer, it will be asked again: %s", silent)
    if alive:
        alive.touch()


async def rest(leaving: asyncio.Event, seconds: float, worker: ProcessWorker) -> None:
    """`seconds` have passed, or the worker was told to leave."""
    if leaving.is_set():
        await asyncio.sleep(seconds)
        return
    with suppress(TimeoutError):
        await asyncio.wait_for(leaving.wait(), seconds)
        log.info("no more runs are taken; %d go on", worker.limiter.borrowed_tokens)
