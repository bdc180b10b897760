"""Shell scripts that lie beside the code that runs them: constant texts, their values come as arguments."""

from __future__ import annotations

from importlib import resources
from typing import Any

from tasks.errors import CommandFailed
from tasks.ssh import Ssh

# Defines control: what the sudo rules of tasks.servers.managed allow. service(8) is for servers
# without systemd: with it, it asks about every socket unit first, which takes a small machine seconds.
CONTROL = """
control() {
    if [ -d /run/systemd/system ]; then sudo -n /usr/bin/systemctl "$1" "$2" </dev/null
    else sudo -n /usr/sbin/service "$2" "$1" </dev/null; fi
}
"""


def read_script(package: str, name: str) -> str:
    """The text of a package's `scripts/<name>.sh`, after what all scripts share and what its package's do."""
    folder = resources.files(package) / "scripts"
    common = folder / "common.sh"
    shared = common.read_text("utf-8") if common.is_file() else ""
    prelude = (resources.files("tasks") / "prelude.sh").read_text("utf-8")
    return prelude + shared + (folder / f"{name}.sh").read_text("utf-8")


def run_text_as_root(
    ssh: Ssh[Any],
    text: str,
    *args: str,
    timeout: float,
    stdin: bytes | None = None,
    user: str = "root",
) -> str:
    """Run a constant script as `user` through the admin login, and return what it printed.

    A login other than root goes through sudo, which must not ask for a password; then CommandFailed says so.
    """
    admin = ssh.node.user
    try:
        result = ssh.run_script(
            text, *args, timeout=timeout, stdin=stdin, as_user=None if admin == user else user
        )
    except CommandFailed as failure:
        if admin != "root" and "sudo" in failure.result.error_text:
            hint = f"the login {admin} has to be root, or be allowed everything by sudo without a password"
            raise CommandFailed(failure.result, hint) from failure
        raise
    return result.text
