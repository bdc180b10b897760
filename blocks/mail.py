"""Where a message goes when something needs a person."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from email.message import EmailMessage

from prefect.blocks.abstract import NotificationBlock
from pydantic import Field, HttpUrl, SecretStr

TIMEOUT_SECONDS = 20.0


class Mail(NotificationBlock):
    """A mail server, and who gets a message through it. Empty until somebody fills it in.

    Example:
        ```python
        from blocks import Mail

        mail = Mail.load("BLOCK_NAME")
        mail.notify("A nightly run failed.", subject="Packmaster")
        ```
    """

    _block_type_name = "Packmaster mail"
    _block_type_slug = "packmaster-mail"
    _description = "A mail server, and who is told through it when a nightly run fails."
    _logo_url = HttpUrl("https://cdn.simpleicons.org/maildotru")
    _documentation_url = HttpUrl("https://docs.python.org/3/library/smtplib.html")

    server: str = Field(default="", title="Mail server", description="Its host name; empty to send nothing.")
    port: int = Field(default=587, title="Port", description="Where it takes messages.", ge=1, le=65535)
    user: str = Field(default="", title="User", description="The account to send as; empty for none.")
    password: SecretStr = Field(
        default=SecretStr(""), title="Password", description="The account's password."
    )
    start_tls: bool = Field(
        default=True,
        title="STARTTLS",
        description="Encrypt before anything is said, to a server whose certificate is valid for its name; "
        "off for a local relay.",
    )
    sender: str = Field(default="", title="Sender", description="The address that messages come from.")
    recipients: list[str] = Field(
        default_factory=list, title="Recipients", description="The addresses that messages go to."
    )

    async def notify(self, body: str, subject: str | None = None) -> None:
        """The message was handed to the mail server; raises smtplib's, ssl's or the socket's own error."""
        message = EmailMessage()
        message["From"], message["To"] = self.sender, ", ".join(self.recipients)
        message["Subject"] = " ".join((subject or "Packmaster").split())
        message.set_content(body)
        await asyncio.to_thread(self._send, message)

    def _send(self, message: EmailMessage) -> None:
        with smtplib.SMTP(self.server, self.port, timeout=TIMEOUT_SECONDS) as connection:
            if self.start_tls:
                # Without a context, smtplib believes whoever answers.
                connection.starttls(context=ssl.create_default_context())
            if self.user:
                connection.login(self.user, self.password.get_secret_value())
            connection.send_message(message)
