"""One call to an NFS server that costs it nothing: procedure 0 of NFS 4 over TCP (RFC 5531, RFC 7530)."""

from __future__ import annotations

import secrets
import socket
import struct
import time

from tasks.liveness.values import NullAnswer

NFS_PORT = 2049
NFS_PROGRAM = 100003
NFS_VERSION = 4
_LAST_FRAGMENT = 0x80000000
_REPLY = struct.Struct(">6I")


def encode_call(xid: int) -> bytes:
    """The call with neither credentials nor verifier, as one record."""
    call = struct.pack(">10I", xid, 0, 2, NFS_PROGRAM, NFS_VERSION, 0, 0, 0, 0, 0)
    return struct.pack(">I", _LAST_FRAGMENT | len(call)) + call


def is_accepted(reply: bytes, xid: int) -> bool:
    """Whether a record, without its mark, says that this very call was done."""
    if len(reply) < _REPLY.size:
        return False
    return _REPLY.unpack_from(reply) == (xid, 1, 0, 0, 0, 0)


def ask_null(address: str, seconds: float, port: int = NFS_PORT) -> NullAnswer:
    """Ask an NFS server whether it is there, and return within `seconds` whatever it does."""
    began, xid = time.monotonic(), secrets.randbits(31)
    ends = began + seconds
    stage = "no connection"
    try:
        with socket.create_connection((address, port), timeout=seconds) as sock:
            stage = "connected, no answer"
            sock.sendall(encode_call(xid))
            record = _receive(sock, 4 + _REPLY.size, ends)
    except TimeoutError:
        return NullAnswer("silent", time.monotonic() - began, stage)
    except OSError as refused:
        return NullAnswer("refused", time.monotonic() - began, refused.strerror or str(refused))
    spent = time.monotonic() - began
    if len(record) < 4 + _REPLY.size:
        return NullAnswer("refused", spent, "the connection was closed")
    return (
        NullAnswer("ok", spent)
        if is_accepted(record[4:], xid)
        else NullAnswer("odd", spent, "no NFS 4 there")
    )


def _receive(sock: socket.socket, size: int, ends: float) -> bytes:
    """At least `size` bytes, or fewer when the other side closes; TimeoutError when the time is over."""
    received = b""
    while len(received) < size:
        left = ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        chunk = sock.recv(4096)
        if not chunk:
            break
        received += chunk
    return received
