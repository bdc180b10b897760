"""The login of OpenSSH, which moves bulk data several times faster than a Python transport.

The key and the pinned host keys are handed over in memory (memfd), so neither ever is on disk or in an
argument list.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tasks.errors import AccessDenied, CommandFailed, PackmasterError
from tasks.fleet import Node
from tasks.result import Result


@contextmanager
def login_to(node: Node) -> Iterator[list[str]]:
    """The words of an `ssh` that logs in to the node, but for the destination; good while the block runs."""
    with in_memory(_key_text(node)) as key, in_memory(_known_hosts(node)) as known_hosts:
        yield ssh_command(node, key=name_of(key), known_hosts=name_of(known_hosts))


def ssh_command(node: Node, *, key: str, known_hosts: str) -> list[str]:
    """The words that `login_to` gives, for a key and host keys in these files."""
    options = {
        "IdentityFile": key,
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": "node",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "BatchMode": "yes",
        "ConnectTimeout": "10",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        "Compression": "no",
        # The fastest where the processor knows AES; `^` only puts it in front of the defaults.
        "Ciphers": "^aes128-gcm@openssh.com",
    }
    words = ["ssh", "-F", "none", "-T", "-x", "-p", str(node.port)]
    return [*words, *(f"-o {name}={value}" for name, value in options.items())]


def explain_ending(result: Result) -> PackmasterError | None:
    """The error that lies in what was said: a login that failed, a full disk; None for anything else."""
    said, host = result.error_text, result.host
    if "No space left on device" in said or "Disk quota exceeded" in said:
        return CommandFailed(result, "the node's disk is full")
    if "Host key verification failed" in said or "host key is known" in said:
        return AccessDenied(
            host,
            "its host key is not the pinned one",
            "Compare the fingerprint on its console. Nothing was sent.",
        )
    if "Permission denied (" in said or "Too many authentication failures" in said:
        return AccessDenied(host, "the login with the registered key was refused", "Run prepare-server.")
    return None


@contextmanager
def in_memory(content: bytes) -> Iterator[int]:
    """A file that has no name anywhere and is gone with this process, whatever happens to it."""
    handle = os.memfd_create("packmaster", os.MFD_CLOEXEC)
    try:
        os.fchmod(handle, 0o600)
        with open(handle, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(handle, 0, os.SEEK_SET)
        yield handle
    finally:
        os.close(handle)


def name_of(handle: int) -> str:
    """Where our children can open what is only in our memory."""
    return f"/proc/{os.getpid()}/fd/{handle}"


def _known_hosts(node: Node) -> bytes:
    return "".join(f"node {key}\n" for key in node.host_keys).encode()


def _key_text(node: Node) -> bytes:
    return (node.private_key.get_secret_value().strip() + "\n").encode()
