"""A message is handed to a real mail server, whole, and to none that only claims to be the one."""

from __future__ import annotations

import asyncio
import base64
import socketserver
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from blocks import Mail

PASSWORD = "mail-password-7d31"


class Sink(socketserver.ThreadingTCPServer):
    """A mail server that keeps what it is told. `lines` are what clients said, `messages` what they sent."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), Session)
        self.context = context
        self.lines: list[str] = []
        self.messages: list[EmailMessage] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Session(socketserver.StreamRequestHandler):
    """As much of SMTP as smtplib speaks (RFC 5321), with STARTTLS and AUTH PLAIN."""

    server: Sink

    def handle(self) -> None:
        self.say("220 sink")
        while line := self.rfile.readline():
            text = line.decode().strip()
            self.server.lines.append(text)
            verb = text.split(" ")[0].upper()
            if verb == "QUIT":
                self.say("221 bye")
                return
            if verb == "STARTTLS":
                if not self.encrypt():
                    return
            elif verb == "DATA":
                self.take()
            else:
                self.say(*self.answer(verb))

    def answer(self, verb: str) -> tuple[str, ...]:
        if verb != "EHLO":
            return ("235 welcome",) if verb == "AUTH" else ("250 well",)
        plain = self.server.context is not None and not isinstance(self.request, ssl.SSLSocket)
        return ("250-sink", "250-STARTTLS" if plain else "250-AUTH PLAIN", "250 8BITMIME")

    def encrypt(self) -> bool:
        assert self.server.context is not None
        self.say("220 go on")
        try:
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        except (ssl.SSLError, OSError):
            return False
        self.setup()
        return True

    def take(self) -> None:
        self.say("354 go on")
        # A line's first point is one too many, where there are two (RFC 5321, 4.5.2).
        lines = [line[line.startswith(b"..") :] for line in iter(self.rfile.readline, b".\r\n")]
        self.server.messages.append(BytesParser(EmailMessage, policy=default).parsebytes(b"".join(lines)))
        self.say("250 taken")

    def say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())
        self.wfile.flush()


def make_certificate(path: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that signs itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sink")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("mail") / "sink.pem")


def serve(context: ssl.SSLContext | None) -> Iterator[Sink]:
    with Sink(context) as sink:
        threading.Thread(target=sink.serve_forever, args=(0.02,), daemon=True).start()
        yield sink
        sink.shutdown()


@pytest.fixture
def relay() -> Iterator[Sink]:
    """One that speaks in the clear, as a relay on the same machine does."""
    yield from serve(None)


@pytest.fixture
def server(certificate: Path) -> Iterator[Sink]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    yield from serve(context)


def write_to(sink: Sink, **more: object) -> Mail:
    fields = {"sender": "packmaster@example.org", "recipients": ["a@example.org", "b@example.org"], **more}
    return Mail.model_validate({"server": "127.0.0.1", "port": sink.port, **fields})


def test_a_message_arrives_whole_at_everybody(relay: Sink) -> None:
    body = "A run failed.\n.\nResync: größer\n"
    asyncio.run(write_to(relay, start_tls=False).notify(body, subject="Packmaster:\n a night"))
    (message,) = relay.messages
    assert message["Subject"] == "Packmaster: a night"
    assert message["From"] == "packmaster@example.org"
    assert message["To"] == "a@example.org, b@example.org"
    assert message.get_content().replace("\r\n", "\n") == body
    told = [line.upper() for line in relay.lines if line.upper().startswith(("MAIL", "RCPT", "AUTH"))]
    assert [line.partition(" SIZE")[0].partition(" BODY")[0] for line in told] == [
        "MAIL FROM:<PACKMASTER@EXAMPLE.ORG>",
        "RCPT TO:<A@EXAMPLE.ORG>",
        "RCPT TO:<B@EXAMPLE.ORG>",
    ]


def test_the_login_is_said_in_secret(
    server: Sink, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    asyncio.run(write_to(server, user="night", password=SecretStr(PASSWORD)).notify("A run failed."))
    (message,) = server.messages
    assert message["Subject"] == "Packmaster"
    verbs = [line.split(" ")[0].upper() for line in server.lines]
    assert verbs.index("STARTTLS") < verbs.index("AUTH") < verbs.index("MAIL")
    login = server.lines[verbs.index("AUTH")].removeprefix("AUTH PLAIN ")
    assert base64.b64decode(login).decode() == f"\0night\0{PASSWORD}"


def test_a_server_that_nobody_vouches_for_is_told_nothing(server: Sink) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        asyncio.run(write_to(server, user="night", password=SecretStr(PASSWORD)).notify("A run failed."))
    assert not server.messages
    assert [line.split(" ")[0].upper() for line in server.lines] == ["EHLO", "STARTTLS"]


def test_one_that_does_not_encrypt_is_told_nothing(relay: Sink) -> None:
    with pytest.raises(OSError, match="STARTTLS"):
        asyncio.run(write_to(relay).notify("A run failed."))
    assert not relay.messages
