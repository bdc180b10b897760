"""What MySQL's caching_sha2_password stores: SHA-crypt (akkadia.org/drepper/SHA-crypt.txt), salt of 20 bytes.

Computed here, so that it can be seen which of several passwords an account takes without logging in as it,
and so that all accounts of a site can be given the very same bytes.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from itertools import cycle, islice

from pydantic import SecretStr

CACHING_SHA2 = "caching_sha2_password"

_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SALT_LENGTH = 20
# The least that every version takes; a generated password of 32 characters needs no more.
_ROUNDS = 5000
# `$A$`, thousands of rounds in hexadecimal, `$`, the salt, and 43 characters of the hash.
_STORED = re.compile(
    r"\$A\$(?P<rounds>[0-9A-Fa-f]{3})\$(?P<salt>.{20})(?P<hash>[./0-9A-Za-z]{43})", re.DOTALL
)
# The bytes in the order in which three of them at a time become four characters.
_GROUPS = [(i, (i + 10) % 30, (i + 20) % 30) for i in range(10)]


def sha2_digest(password: SecretStr) -> SecretStr:
    """Return what the server may store for the password, with a fresh salt of printable characters."""
    salt = "".join(secrets.choice(_ALPHABET) for _ in range(_SALT_LENGTH))
    return SecretStr(f"$A${_ROUNDS // 1000:03X}${salt}{_crypt(password, salt.encode(), _ROUNDS)}")


def sha2_matches(stored: SecretStr, password: SecretStr) -> bool:
    """Say whether `stored` is a digest of the password; False too for what the plugin never stores."""
    found = _STORED.fullmatch(stored.get_secret_value())
    if not found:
        return False
    rounds = int(found["rounds"], 16) * 1000
    return secrets.compare_digest(_crypt(password, found["salt"].encode(), rounds), found["hash"])


def _crypt(password: SecretStr, salt: bytes, rounds: int) -> str:
    key = password.get_secret_value().encode()
    size = len(key)

    def repeated(block: bytes, length: int) -> bytes:
        return bytes(islice(cycle(block), length))

    alternate = hashlib.sha256(key + salt + key).digest()
    first = hashlib.sha256(key + salt + repeated(alternate, size))
    bits = size
    while bits:
        first.update(alternate if bits & 1 else key)
        bits >>= 1
    digest = first.digest()
    p = repeated(hashlib.sha256(key * size).digest(), size)
    s = repeated(hashlib.sha256(salt * (16 + digest[0])).digest(), len(salt))
    for number in range(rounds):
        odd = number & 1
        parts = [p if odd else digest]
        parts += [s] * bool(number % 3) + [p] * bool(number % 7) + [digest if odd else p]
        digest = hashlib.sha256(b"".join(parts)).digest()
    return _encode(digest)


def _encode(digest: bytes) -> str:
    # 10 groups of three bytes, whose first byte moves on by one place every time, then the last two bytes.
    text = ""
    for number, group in enumerate(_GROUPS):
        turn = number % 3
        a, b, c = group[-turn:] + group[:-turn] if turn else group
        text += _characters(digest[a] << 16 | digest[b] << 8 | digest[c], 4)
    return text + _characters(digest[31] << 8 | digest[30], 3)


def _characters(value: int, count: int) -> str:
    return "".join(_ALPHABET[value >> 6 * place & 63] for place in range(count))
