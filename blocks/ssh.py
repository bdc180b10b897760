"""The login that Packmaster uses on servers."""

from __future__ import annotations

from pydantic import Field, HttpUrl, SecretStr

from blocks.inventory_block import InventoryBlock

UNIX_USER = r"^[a-z_][a-z0-9_-]{0,31}$"


class SshCredentials(InventoryBlock):
    """A key and the account that prepares servers; all else is done as the platform user, aegir.

    Example:
        ```python
        from blocks import SshCredentials

        credentials = SshCredentials.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "SSH credentials"
    _block_type_slug = "packmaster-ssh-credentials"
    _description = "A private key and the accounts it opens on your servers."
    _logo_url = HttpUrl("https://cdn.simpleicons.org/gnubash")
    _documentation_url = HttpUrl("https://man.openbsd.org/ssh-keygen")

    private_key: SecretStr = Field(
        title="Private key",
        description="An unencrypted private key (Ed25519, ECDSA or RSA) in OpenSSH or PEM format.",
    )
    admin_username: str = Field(
        default="root",
        title="Admin user",
        description="Used by prepare-server only: root, or a user who may run everything with sudo.",
        pattern=UNIX_USER,
    )
