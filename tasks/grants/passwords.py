"""What can be known of a password from what the server stores of it."""

from __future__ import annotations

import hashlib

from pydantic import SecretStr

NATIVE = "mysql_native_password"


def native_digest(password: SecretStr) -> str:
    """Return what mysql_native_password stores: `*` and the hexadecimal SHA1(SHA1(password)).

    It is not salted, so equal passwords are equal digests. Of every other plugin only equal bytes can be
    taken for equal passwords, and a login proves the rest.
    """
    inner = hashlib.sha1(password.get_secret_value().encode()).digest()  # noqa: S324 - the server's format
    return "*" + hashlib.sha1(inner).hexdigest().upper()  # noqa: S324
