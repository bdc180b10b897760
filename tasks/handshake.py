"""The beginning of every connection: the pinned host key is checked, then the registered key logs in."""

from __future__ import annotations

import io
import logging
import socket

import paramiko

from tasks.errors import AccessDenied, Unreachable
from tasks.fleet import Machine

CONNECT_SECONDS = 10.0

# It logs a traceback for each connection that ends; ours become errors that say what to do.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


def open_transport(node: Machine) -> paramiko.Transport:
    """Connect, check the pinned host key, and log in; or raise Unreachable or AccessDenied."""
    try:
        sock = socket.create_connection((node.address, node.port), timeout=CONNECT_SECONDS)
    except OSError as refused:
        raise Unreachable(node.name, f"{node.address}:{node.port}: {refused}") from refused
    transport: paramiko.Transport | None = None
    try:
        transport = paramiko.Transport(sock)
        transport.banner_timeout = CONNECT_SECONDS
        transport.handshake_timeout = CONNECT_SECONDS
        transport.auth_timeout = CONNECT_SECONDS
        _prefer_pinned_types(transport, node)
        transport.start_client(timeout=CONNECT_SECONDS)
        _check_host_key(transport, node)
        transport.auth_publickey(node.user, load_private_key(node))
        transport.set_keepalive(5)
    except (paramiko.AuthenticationException, AccessDenied) as denied:
        _discard(transport, sock)
        if isinstance(denied, AccessDenied):
            raise
        raise AccessDenied(
            node.name,
            f"the login {node.user}@{node.address} with the registered key was refused ({denied})",
            f"Put the credentials' public key into ~{node.user}/.ssh/authorized_keys, or run prepare-server.",
        ) from denied
    except (paramiko.SSHException, OSError, EOFError) as lost:
        _discard(transport, sock)
        raise Unreachable(node.name, f"no SSH handshake on {node.address}:{node.port}: {lost}") from lost
    return transport


def _discard(transport: paramiko.Transport | None, sock: socket.socket) -> None:
    if transport is not None:
        transport.close()
    sock.close()


def _prefer_pinned_types(transport: paramiko.Transport, node: Machine) -> None:
    """Ask for the key types we have pins of, or a server with several keys could offer another one."""
    if not node.host_keys:
        raise AccessDenied(
            node.name,
            "no host key is pinned in the inventory",
            "Run `packmaster inventory scan-host-keys`, compare the fingerprints, and register them.",
        )
    pinned = {key.split()[0] for key in node.host_keys}
    if "ssh-rsa" in pinned:
        pinned |= {"rsa-sha2-512", "rsa-sha2-256"}
    options = transport.get_security_options()
    wanted = tuple(kind for kind in options.key_types if kind in pinned)
    if wanted:
        options.key_types = wanted


def _check_host_key(transport: paramiko.Transport, node: Machine) -> None:
    key = transport.get_remote_server_key()
    offered = f"{key.get_name()} {key.get_base64()}"
    if not any(pin.split()[:2] == offered.split() for pin in node.host_keys):
        raise AccessDenied(
            node.name,
            f"its host key is not the pinned one ({key.get_name()} {key.fingerprint} was offered)",
            "Somebody may be in between, or the server was reinstalled: compare the fingerprint on its "
            "console, then update the inventory. Nothing was sent.",
        )


def load_private_key(node: Machine) -> paramiko.PKey:
    """Return the node's private key; raises AccessDenied when it cannot be read."""
    text = node.private_key.get_secret_value().strip() + "\n"
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        try:
            return kind.from_private_key(io.StringIO(text))
        except (paramiko.SSHException, ValueError):
            continue
    raise AccessDenied(
        node.name,
        "the registered private key cannot be read",
        "Register an unencrypted Ed25519, ECDSA or RSA key in OpenSSH or PEM format.",
    )
