"""The one transport: commands, files and tunnels over SSH, and nothing else reaches a node.

Connections are kept and shared by all threads of a process (`connect`), so a flow authenticates once per
host. Argument lists only: quoting happens here and nowhere else. Host keys are pinned and always checked.
Every wait is bounded, and the remote side of a command runs under timeout(1), so that neither a hung node
nor a dead controller leaves anything running for longer than it was asked to.
"""

from __future__ import annotations

import io
import logging
import shlex
import threading
import time
from collections.abc import Sequence
from typing import Any, Generic

import paramiko
from typing_extensions import TypeVar

from tasks.errors import CommandFailed, Unreachable
from tasks.fleet import Machine, Node
from tasks.handshake import CONNECT_SECONDS, open_transport
from tasks.result import Result

log = logging.getLogger(__name__)

# Most of what is done is done on web servers, so a plain `Ssh` is one to a Node.
M = TypeVar("M", bound=Machine, default=Node)

COMMAND_SECONDS = 60.0
# sshd's MaxSessions is 10 a connection by default, and a session just closed may count beside its successor.
CHANNELS_PER_HOST = 5
# timeout(1) sends TERM, then KILL this much later; our own deadline comes after both.
KILL_AFTER_SECONDS = 2
POLL_SECONDS = 0.05
GRACE_SECONDS = 5.0
# How long outputs may be silent after the exit status before what keeps them open is taken for a daemon.
QUIET_SECONDS = 1.0
KILLED_STATUS = 137
TIMEOUT_STATUS = frozenset({124, KILLED_STATUS})


class Ssh(Generic[M]):
    """A reusable connection to one machine. Safe to use from many threads; reconnects when it was lost.

    Raises Unreachable (retryable), AccessDenied (not retryable) and, from `run`, CommandFailed.
    """

    def __init__(self, node: M) -> None:
        self.node = node
        self._transport: paramiko.Transport | None = None
        self._lock = threading.Lock()
        self._channels = threading.BoundedSemaphore(CHANNELS_PER_HOST)

    def __repr__(self) -> str:
        return f"Ssh({self.node.login!r})"

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = COMMAND_SECONDS,
        stdin: bytes | None = None,
        as_user: str | None = None,
        check: bool = True,
        meaning: str = "",
    ) -> Result:
        """Run `argv` and return its Result once it has exited.

        `timeout` is in seconds; when it passes the remote command is killed and Unreachable is raised, for a
        node that no longer finishes its commands is as good as gone. `as_user` goes through `sudo -n`.
        `meaning` is put before the error message when `check` is true and the status is not 0.
        """
        words = [*argv] if as_user is None else ["sudo", "-n", "-u", as_user, "--", *argv]
        guarded = ["timeout", "-k", str(KILL_AFTER_SECONDS), f"{timeout:.3f}", *words]
        # LC_ALL is set here because sshd's AcceptEnv cannot be relied upon, and parsers need C messages.
        line = "LC_ALL=C " + shlex.join(guarded)
        started = time.monotonic()
        with self._channels:
            status, out, err = self._execute(line, stdin, timeout + KILL_AFTER_SECONDS + GRACE_SECONDS)
        result = Result(self.node.name, tuple(words), status, out, err, time.monotonic() - started)
        log.debug("%s", result.describe())
        if status in TIMEOUT_STATUS and result.seconds >= timeout:
            raise Unreachable(self.node.name, f"`{shlex.join(words)[:200]}` did not finish in {timeout:g} s")
        if check and not result.ok:
            raise CommandFailed(result, meaning)
        return result

    def run_script(
        self,
        script: str,
        *args: str,
        timeout: float = COMMAND_SECONDS,
        stdin: bytes | None = None,
        as_user: str | None = None,
        check: bool = True,
        meaning: str = "",
    ) -> Result:
        """Run a constant shell script with `args` as `$1…`; never build the script from data."""
        argv = ["sh", "-euc", script, "packmaster", *args]
        return self.run(argv, timeout=timeout, stdin=stdin, as_user=as_user, check=check, meaning=meaning)

    def open_tunnel(self, host: str, port: int, *, timeout: float = CONNECT_SECONDS) -> paramiko.Channel:
        """Return a channel to `host:port` as reached *from this node*; the caller closes it."""
        transport = self._connected()
        try:
            channel = transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=timeout)
        except paramiko.ChannelException as refused:
            raise Unreachable(
                f"{host}:{port}", f"refused when asked from {self.node.name} ({refused})"
            ) from refused
        except (paramiko.SSHException, OSError, EOFError) as lost:
            self.close()
            raise Unreachable(
                f"{host}:{port}", f"no answer when asked from {self.node.name} ({lost})"
            ) from lost
        channel.settimeout(timeout)
        return channel

    def close(self) -> None:
        """Drop the connection; the next call makes a new one."""
        with self._lock:
            if self._transport is not None:
                self._transport.close()
                self._transport = None

    def _connected(self) -> paramiko.Transport:
        with self._lock:
            if self._transport is None or not self._transport.is_active():
                self._transport = open_transport(self.node)
            return self._transport

    def _execute(self, line: str, stdin: bytes | None, deadline: float) -> tuple[int, bytes, bytes]:
        transport = self._connected()
        try:
            channel = _open_session(transport)
        except (paramiko.SSHException, OSError, EOFError) as lost:
            self.close()
            raise Unreachable(self.node.name, f"the SSH connection was lost ({lost})") from lost
        ends = time.monotonic() + deadline
        try:
            channel.exec_command(line)
            return _exchange(channel, stdin or b"", ends)
        except TimeoutError as late:
            self.close()
            raise Unreachable(self.node.name, f"no answer within {deadline:.0f} s") from late
        except (paramiko.SSHException, OSError, EOFError) as lost:
            self.close()
            raise Unreachable(self.node.name, f"the SSH connection dropped ({lost})") from lost
        finally:
            channel.close()


def _open_session(transport: paramiko.Transport) -> paramiko.Channel:
    """Open a session; where sshd allows fewer than we use, wait for one to become free."""
    ends = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            return transport.open_session(timeout=CONNECT_SECONDS)
        except paramiko.ChannelException:
            if time.monotonic() > ends:
                raise
            time.sleep(POLL_SECONDS)


def _exchange(channel: paramiko.Channel, stdin: bytes, ends: float) -> tuple[int, bytes, bytes]:
    """Feed standard input and drain both outputs at once, so that no full pipe can block the command."""
    out, err = io.BytesIO(), io.BytesIO()
    sent, heard = 0, time.monotonic()
    while True:
        if time.monotonic() > ends:
            raise TimeoutError
        sending = sent < len(stdin) and channel.send_ready()
        if sending:
            sent += _send(channel, stdin[sent : sent + 32768])
        elif sent == len(stdin) and not channel.eof_sent:
            channel.shutdown_write()
        channel.settimeout(0.0 if sending else POLL_SECONDS)
        if _drain(channel, out, err) or not channel.exit_status_ready():
            heard = time.monotonic()
        # The status may come before the last of the output, and after it a daemon may hold the outputs open
        # for ever: so the end is the end of the output, or a silence after the status.
        ended = channel.eof_received or channel.closed or time.monotonic() - heard > QUIET_SECONDS
        if ended and channel.exit_status_ready():
            _drain(channel, out, err)
            return _read_status(channel), out.getvalue(), err.getvalue()
        if channel.eof_received:
            channel.status_event.wait(POLL_SECONDS)


def _send(channel: paramiko.Channel, data: bytes) -> int:
    """Send some of `data`; all of it counts as sent when the command has ended, for nobody reads it then."""
    try:
        return channel.send(data)
    except OSError:
        # It ended since it was asked whether there is room; a connection that is gone has no status.
        if not channel.closed:
            raise
        return len(data)


def _read_status(channel: paramiko.Channel) -> int:
    """The exit status, KILLED_STATUS when a signal ended the command; EOFError for a lost connection."""
    status = channel.recv_exit_status()
    if status != -1:
        return status
    # paramiko says -1 in both cases, and that its thread has ended only a moment later.
    transport = channel.get_transport()
    transport.join(QUIET_SECONDS)
    if not transport.is_active():
        raise EOFError("it ended without an exit status")
    return KILLED_STATUS


def _drain(channel: paramiko.Channel, out: io.BytesIO, err: io.BytesIO) -> bool:
    """Take what has arrived, waiting one poll interval for it; return whether there was anything."""
    before = out.tell() + err.tell()
    while channel.recv_stderr_ready():
        err.write(channel.recv_stderr(65536))
    try:
        while chunk := channel.recv(65536):
            out.write(chunk)
            if not channel.recv_ready():
                break
    except TimeoutError:
        pass
    return out.tell() + err.tell() > before


_connections: dict[Machine, Ssh[Any]] = {}
_connections_lock = threading.Lock()


def connect(node: M) -> Ssh[M]:
    """Return this process's shared connection to `node`; nothing is sent before its first command."""
    # The whole node is the key: another login, host key or private key must never get this connection.
    with _connections_lock:
        return _connections.setdefault(node, Ssh(node))


def disconnect_all() -> None:
    """Close every shared connection of this process."""
    with _connections_lock:
        connections = list(_connections.values())
        _connections.clear()
    for connection in connections:
        connection.close()
