"""Commands in machines with a kernel of their own, over OpenSSH's own connections."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

LOGIN_SECONDS = 30


@dataclass(frozen=True)
class Guests:
    """One connection a machine, kept: there a login costs ten times what a command does."""

    addresses: dict[str, str]
    private_key: Path
    known_hosts: Path
    sockets: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="packmaster-ssh-")))
    locks: dict[str, threading.Lock] = field(default_factory=dict)

    def run(self, name: str, command: str, stdin: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root. Status 255 is a machine that does not answer.

        Raises subprocess.TimeoutExpired.
        """
        self._connect(name)
        done = subprocess.run(
            self._ssh(name, "ControlMaster=no", command=command),
            input=stdin, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        if done.returncode == 255:
            self.close(name)
        return done

    def close(self, *names: str) -> None:
        """Forget the connections to these machines, whatever has become of the machines."""
        for name in names:
            if self._socket(name).exists():
                with suppress(subprocess.TimeoutExpired):
                    self._quietly(["ssh", "-F", "none", "-S", str(self._socket(name)), "-O", "exit", name])
            self._socket(name).unlink(missing_ok=True)

    def close_all(self) -> None:
        self.close(*self.addresses)
        self.sockets.rmdir()

    def _socket(self, name: str) -> Path:
        return self.sockets / name

    def _connect(self, name: str) -> None:
        # Where it fails, the command itself says why.
        with self.locks.setdefault(name, threading.Lock()), suppress(subprocess.TimeoutExpired):
            if not self._socket(name).exists():
                self._quietly(self._ssh(name, "ControlMaster=yes", "ControlPersist=yes", command=None))

    def _quietly(self, argv: list[str]) -> None:
        # What stays in the background would keep a pipe open.
        quiet = subprocess.DEVNULL
        subprocess.run(argv, stdin=quiet, stdout=quiet, stderr=quiet, timeout=LOGIN_SECONDS, check=False)

    def _ssh(self, name: str, *more: str, command: str | None) -> list[str]:
        options = [
            "BatchMode=yes",
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={self.known_hosts}",
            f"ControlPath={self._socket(name)}",
            "ConnectTimeout=5",
            "ServerAliveInterval=5",
            "ServerAliveCountMax=2",
            *more,
        ]
        flags = [word for option in options for word in ("-o", option)]
        login = f"root@{self.addresses[name]}"
        rest = ["-N", "-f", login] if command is None else ["-T", login, command]
        return ["ssh", "-F", "none", *flags, "-i", str(self.private_key), *rest]
