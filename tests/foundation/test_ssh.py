"""What of the transport can be said without a node; tests/nodes/test_ssh_*.py have the rest."""

import io
from typing import Any

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from pydantic import SecretStr

from tasks.errors import AccessDenied, Unreachable
from tasks.fleet import Node
from tasks.handshake import load_private_key
from tasks.result import Result
from tasks.ssh import Ssh, connect, disconnect_all


def make_node(private_key: str = "", **fields: Any) -> Node:
    values: dict[str, Any] = {"name": "web1", "address": "127.0.0.1", "kind": "apache", "host_keys": ()}
    return Node(**(values | fields), private_key=SecretStr(private_key))


def as_text(key: PrivateKeyTypes, form: serialization.PrivateFormat) -> str:
    encoded = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return str(encoded.decode())


def make_result(
    out: bytes = b"", err: bytes = b"", argv: tuple[str, ...] = ("true",), status: int = 1
) -> Result:
    return Result("web1", argv, status, out, err, 1.0)


def test_a_result_shows_the_last_ten_lines_of_its_errors() -> None:
    shown = make_result(err=b"\n".join(b"line %d" % n for n in range(30))).describe()
    assert "line 20" in shown
    assert "line 29" in shown
    assert "line 19\n" not in shown


def test_a_result_shows_its_output_when_there_are_no_errors() -> None:
    assert "only this" in make_result(out=b"only this\n").describe()
    assert "(it printed nothing)" in make_result().describe()


def test_a_result_quotes_its_command_and_keeps_it_short() -> None:
    assert "`ls 'a b'`" in make_result(argv=("ls", "a b")).describe()
    assert len(make_result(argv=("x" * 1000,)).describe()) < 400


def test_output_that_is_not_utf8_survives() -> None:
    name = b"caf\xe9\n"
    assert make_result(out=name).text.encode("utf-8", "surrogateescape") == name
    assert make_result(err=b"\xe9").error_text == "\ufffd"


@pytest.mark.parametrize(
    "text",
    [
        as_text(ed25519.Ed25519PrivateKey.generate(), serialization.PrivateFormat.OpenSSH),
        as_text(ec.generate_private_key(ec.SECP256R1()), serialization.PrivateFormat.OpenSSH),
        as_text(ec.generate_private_key(ec.SECP256R1()), serialization.PrivateFormat.TraditionalOpenSSL),
        as_text(rsa.generate_private_key(65537, 2048), serialization.PrivateFormat.OpenSSH),
        as_text(rsa.generate_private_key(65537, 2048), serialization.PrivateFormat.TraditionalOpenSSL),
    ],
    ids=["ed25519", "ecdsa", "ecdsa in PEM", "rsa", "rsa in PEM"],
)
def test_every_promised_kind_of_key_is_read(text: str) -> None:
    # Pasted into a form, a key easily loses its last newline or gains some.
    for pasted in (text, text.rstrip("\n"), f"\n{text}\n\n"):
        assert load_private_key(make_node(pasted)).can_sign()


# The header is put together here: what looks for keys in a repository shall find none.
HEADER = "-----BEGIN OPENSSH " + "PRIVATE KEY-----"


@pytest.mark.parametrize("text", ["", "not a key", f"{HEADER}\nAAAA\n"])
def test_an_unreadable_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(AccessDenied, match="private key cannot be read") as denied:
        load_private_key(make_node(text))
    assert not text or text not in str(denied.value)


def test_an_encrypted_key_is_refused_as_unreadable() -> None:
    stream = io.StringIO()
    paramiko.RSAKey.generate(2048).write_private_key(stream, password="secret")
    with pytest.raises(AccessDenied, match="unencrypted"):
        load_private_key(make_node(stream.getvalue()))


def test_a_node_never_shows_its_key() -> None:
    node = make_node("very-secret-key")
    assert "very-secret-key" not in f"{node!r} {Ssh(node)!r} {node.as_admin()}"


def test_connections_are_shared_until_something_about_the_node_changes() -> None:
    node = make_node(host_keys=("ssh-ed25519 AAAA",))
    try:
        assert connect(node) is connect(make_node(host_keys=("ssh-ed25519 AAAA",)))
        assert connect(node) is not connect(node.as_admin())
        assert connect(node) is not connect(make_node(host_keys=("ssh-ed25519 BBBB",)))
        assert connect(node) is not connect(make_node(host_keys=("ssh-ed25519 AAAA",), port=2222))
    finally:
        disconnect_all()


def test_a_refused_port_is_unreachable_and_named() -> None:
    node = make_node(port=1, host_keys=("ssh-ed25519 AAAA",))
    with pytest.raises(Unreachable, match=r"web1 cannot be reached: 127\.0\.0\.1:1: .*refused"):
        Ssh(node).run(["true"])
