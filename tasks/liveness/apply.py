"""The steps of a repair on one node: flush, try, drain, mount anew, confirm, resume. Each can be repeated."""

from __future__ import annotations

import time

from tasks.errors import CommandFailed, Drift
from tasks.fleet import Machine, Node
from tasks.liveness.facts import look_from_node
from tasks.liveness.plan import Remount
from tasks.liveness.values import Member, Verdict, Watched
from tasks.liveness.verdicts import find_mount
from tasks.outcome import Outcome
from tasks.result import Result
from tasks.scripts import read_script
from tasks.ssh import connect

# Longer than the pool's process_control_timeout, within which requests may finish.
STOP_SECONDS = 15
START_SECONDS = 45
MOUNT_SECONDS = 20
# A mount made a moment ago may have to wait for the end of the server's grace period, 90 s by default, before
# it can open a file.
CONFIRM_SECONDS = 120.0
PAUSE_SECONDS = 1.0
STAYS_BUSY = 75


def drain_node(node: Node, seconds: int = STOP_SECONDS) -> Outcome:
    """No php-fpm runs on the node, and it is noted there which did; CommandFailed when one does not stop.

    Requests that are being answered get `seconds` to finish.
    """
    stopped = _run(node, "drain", str(seconds), meaning="php-fpm cannot be stopped").text.split()
    detail = f"{', '.join(stopped)} stopped" if stopped else "no php-fpm runs"
    return Outcome(node.name, "drain", changed=bool(stopped), detail=detail)


def try_mounts(node: Node, remounts: tuple[Remount, ...]) -> Outcome:
    """What is wanted can be mounted: it was, out of sight. Raises CommandFailed; nothing of the node changes.

    A mount that hangs is left out: a second one of the same export would wait with it.
    """
    tried = [one.mount for one in remounts if one.verdict is not Verdict.HUNG]
    for mount in tried:
        meaning = f"{mount.point} could not be mounted from {mount.source}; nothing was stopped or unmounted"
        args = (mount.kind, mount.source, ",".join(mount.options), str(MOUNT_SECONDS))
        _run(node, "try_mount", *args, meaning=meaning)
    points = ", ".join(mount.point for mount in tried)
    return Outcome(node.name, "try mounts", detail=f"{points} can be mounted" if tried else "none to try")


def remount(node: Node, wanted: Remount) -> Outcome:
    """What is wanted is mounted. Raises CommandFailed, naming who holds it, when a live mount stays busy."""
    mount, state = wanted.mount, "dead" if wanted.dead else "alive"
    result = _run(
        *(node, "remount", mount.kind, mount.source, mount.point, ",".join(mount.options)),
        *(str(MOUNT_SECONDS), state),
        check=False,
    )
    if result.status == STAYS_BUSY:
        raise CommandFailed(
            result,
            f"{mount.point} is {wanted.verdict} and stays mounted, for somebody uses it; end that, then run "
            "this again. php-fpm stays stopped, so that nobody is served from it",
        )
    if not result.ok:
        raise CommandFailed(result, f"{mount.point} cannot be mounted; php-fpm stays stopped")
    held = f"; {result.text.strip()}" if result.text.strip() else ""
    return Outcome(node.name, "mount anew", changed=True, detail=f"{mount.point} from {mount.source}{held}")


def confirm(node: Node, watched: Watched, member: Member, seconds: float = CONFIRM_SECONDS) -> Outcome:
    """Every mount of the node is the right one and answers; Drift, saying what is not, after `seconds`."""
    ends = time.monotonic() + seconds
    while True:
        sight = look_from_node(node, watched, member)
        found = {mount.point: find_mount(watched, node.name, mount, sight, None) for mount in member.mounts}
        wrong = {point: one for point, one in found.items() if one.verdict not in {Verdict.OK, Verdict.SLOW}}
        if not wrong:
            return Outcome(node.name, "confirm mounts", detail=f"{', '.join(found)} answer")
        if any(one.verdict is not Verdict.HUNG for one in wrong.values()) or time.monotonic() > ends:
            said = "; ".join(f"{point} is {one.verdict} ({one.detail})" for point, one in wrong.items())
            raise Drift(f"{node.name}: {said}; php-fpm stays stopped")
        time.sleep(PAUSE_SECONDS)


def resume_node(node: Node) -> Outcome:
    """What drain_node stopped runs again, and for how long it was stopped is said; CommandFailed when it does
    not start.
    """
    said = _run(node, "resume", str(START_SECONDS), meaning="php-fpm cannot be started").text.split()
    detail = f"{', '.join(said[1:])} was stopped for {said[0]} s" if said else "nothing was stopped"
    return Outcome(node.name, "resume", changed=bool(said), detail=detail)


def flush_exports(server: Machine) -> Outcome:
    """The server's kernel knows no directory any more that was removed; nothing is exported or taken back.

    Until then it answers from the removed one, also those who mount anew (exportfs(8), -f).
    """
    _run(server, "flush", meaning="the server's exports cannot be flushed")
    return Outcome(server.name, "flush exports", changed=True, detail="its kernel asks anew what is exported")


def _run(node: Machine, script: str, *args: str, check: bool = True, meaning: str = "") -> Result:
    admin = node.as_admin()
    text = read_script("tasks.liveness", script)
    as_user = None if admin.user == "root" else "root"
    return connect(admin).run_script(text, *args, timeout=120, as_user=as_user, check=check, meaning=meaning)
