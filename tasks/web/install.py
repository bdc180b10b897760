"""The whole safe sequence for one host: the new configuration holds, or the last good one is back."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence

from tasks.errors import PackmasterError, Unreachable
from tasks.fleet import Node
from tasks.outcome import Outcome
from tasks.ssh import Ssh, connect
from tasks.web.apply import prune_generations, reload_web, stage_generation, switch_generation, test_staged
from tasks.web.check import (
    NO_VHOST,
    RELOAD_SECONDS,
    Answer,
    SiteCheck,
    SiteFailed,
    fetch,
    read_loaded_generation,
    run_check,
)
from tasks.web.plan import WebPlan

log = logging.getLogger(__name__)

# After a reload, workers with the old configuration may take a few more requests.
_SIGHTINGS = 3


class InstallFailed(PackmasterError):  # noqa: N818
    """A new configuration was live and did not hold; the last good one was put back."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(reason)
        self.host = host
        self.reason = reason

    def __reduce__(self) -> tuple[type[InstallFailed], tuple[str, str]]:
        return type(self), (self.host, self.reason)


def install_config(node: Node, plan: WebPlan, checks: Sequence[SiteCheck] = ()) -> Outcome:
    """The generation is live and loaded and its sites and `checks` answer, or the last good one is back.

    Raises CommandFailed with the server's own error when the test refuses it and nothing was switched,
    InstallFailed when it was switched and taken back, and Unreachable, which another attempt may cure.
    """
    step = "install web configuration"
    if not plan:
        return Outcome(node.name, step, detail=f"{plan.live} is live and loaded")
    ssh = connect(node)
    stage_generation(ssh, plan)
    test_staged(ssh, plan)
    switch_generation(ssh, plan.generation)
    try:
        reload_web(ssh, plan.kind)
        wait_for_generation(node, plan.generation)
        check_routes(node, plan.routes, plan.generation)
        for check in checks:
            run_check(node, check)
    except PackmasterError as failure:
        raise _give_back(ssh, plan, failure) from failure
    prune_generations(ssh, plan)
    changes = [str(each) for each in plan.steps if each.action not in {"altered", "unknown"}]
    return Outcome(node.name, step, True, f"{plan.generation}: {', '.join(changes) or 'reloaded'}")


def test_config(node: Node, plan: WebPlan) -> Outcome:
    """The plan's generation is on the node and the server accepts it; what is live has not been touched."""
    if not plan:
        return Outcome(node.name, "test web configuration", detail=f"{plan.live} is live and loaded")
    ssh = connect(node)
    stage_generation(ssh, plan)
    test_staged(ssh, plan)
    return Outcome(node.name, "test web configuration", detail=f"{plan.generation} is accepted")


def restore_config(node: Node, plan: WebPlan) -> Outcome:
    """The configuration from before the plan is live and loaded again: another server could not follow."""
    step, ssh = "restore web configuration", connect(node)
    if not plan or plan.last_good is None:
        return Outcome(node.name, step, detail="it was not changed")
    _load_last_good(ssh, plan, plan.last_good)
    return Outcome(node.name, step, changed=True, detail=f"{plan.last_good} is back")


def wait_for_generation(node: Node, generation: str, seconds: float = RELOAD_SECONDS) -> None:
    """The web server answers with `generation`, several times in a row; raises SiteFailed after `seconds`."""
    ends, seen, loaded = time.monotonic() + seconds, 0, None
    while time.monotonic() < ends:
        loaded = read_loaded_generation(node, max(0.5, min(5.0, ends - time.monotonic())))
        seen = seen + 1 if loaded == generation else 0
        if seen == _SIGHTINGS:
            return
        if not seen:
            time.sleep(0.1)
    raise SiteFailed(
        node.name,
        f"http://{node.address}:{node.http_port}/",
        f"{seconds:.0f} s after the reload it has configuration {loaded or '(none)'}, not {generation}",
    )


def check_routes(
    node: Node,
    routes: Iterable[tuple[str, int | None]],
    generation: str,
    seconds: float = RELOAD_SECONDS,
) -> None:
    """Every name reaches its vhost. A hidden path is asked for, so the application has no part in it.

    A name that answers wrongly is asked again, for `seconds` in all: on a busy machine nginx's old workers
    take a request long after the new ones answered first, and what a vhost answers does not say how old it
    is. Only that a server which has `generation` does not know the name is final. Raises SiteFailed.
    """
    ends = time.monotonic() + seconds
    for name, status in routes:
        answer = fetch(node, name, "/.packmaster")
        while (reason := _misrouted(answer, status)) and time.monotonic() < ends:
            if answer.generation == generation:
                break
            time.sleep(0.1)
            answer = fetch(node, name, "/.packmaster")
        if reason:
            raise SiteFailed(node.name, answer.url, reason)


def _misrouted(answer: Answer, status: int | None) -> str:
    """Why it is not what the name has to answer, or nothing."""
    if answer.is_catch_all:
        return NO_VHOST
    return f"answered {answer.status}, not {status}" if status not in {None, answer.status} else ""


def _load_last_good(ssh: Ssh, plan: WebPlan, last_good: str) -> None:
    switch_generation(ssh, last_good)
    reload_web(ssh, plan.kind)
    # The generation that prepare-server makes is empty, so there is nothing that could be seen of it.
    if plan.loaded is not None:
        wait_for_generation(ssh.node, last_good)


def _give_back(ssh: Ssh, plan: WebPlan, failure: PackmasterError) -> PackmasterError:
    """Make the last good generation live and loaded again; the returned failure says how that went."""
    why, lost = [str(failure)], False
    try:
        test_staged(ssh, plan)
    except PackmasterError as broken:
        why.append(f"the server says: {broken}")
    try:
        if plan.last_good is not None:
            _load_last_good(ssh, plan, plan.last_good)
            why.append(f"the configuration {plan.last_good} is back")
    except PackmasterError as again:
        log.warning("%s: the last good configuration could not be loaded: %s", plan.host, again)
        lost = isinstance(again, Unreachable)
        why.append(f"AND {plan.last_good} could not be loaded again: {again}")
    if lost and isinstance(failure, Unreachable):
        return failure  # worth another attempt, which finds out what is live now
    return InstallFailed(plan.host, "; ".join(why))
