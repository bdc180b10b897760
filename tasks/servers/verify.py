"""Is a server ready? Asked anew: planning finds nothing to do, and the platform user can log in."""

from __future__ import annotations

from tasks.errors import Drift
from tasks.fleet import PLATFORM_USER, Node
from tasks.outcome import Outcome
from tasks.servers.facts import read_facts
from tasks.servers.managed import TEST_HELPER
from tasks.servers.plan import plan_server
from tasks.servers.state import DesiredServer
from tasks.ssh import connect

LOGIN_SECONDS = 20.0


def verify_ready(node: Node, desired: DesiredServer) -> Outcome:
    """Return an unchanged Outcome when `node` is ready.

    Raises Drift when steps are left, AccessDenied when the platform user cannot log in, CommandFailed when it
    has not the ids asked for or may not use its sudo rules.
    """
    left = plan_server(desired, read_facts(node, desired))
    if left:
        raise Drift(
            f"{node.name} is not ready yet:\n{left}\nRun prepare-server again; if this stays, look there"
        )
    ssh = connect(node)
    ids = ssh.run_script('echo "$(id -un) $(id -u) $(id -g)"', timeout=LOGIN_SECONDS).text.strip()
    wanted = f"{PLATFORM_USER} {desired.uid} {desired.gid}"
    if node.user == PLATFORM_USER and ids != wanted:
        raise Drift(f"{node.name}: the platform user is `{ids}` after login and not `{wanted}`")
    ssh.run(["sudo", "-n", "-l", TEST_HELPER], timeout=LOGIN_SECONDS, meaning="its sudo rules do not work")
    return Outcome(node.name, "verify server", detail="ready")
