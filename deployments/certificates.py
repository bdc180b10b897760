"""Which certificates Prefect's clients read: where the API is reached without TLS, none but one."""

from __future__ import annotations

import os
from pathlib import Path

import certifi

SETTING = "PREFECT_API_SSL_CERT_FILE"
END = "-----END CERTIFICATE-----\n"


def certificates_for(api_url: str, folder: Path) -> dict[str, str]:
    """The environment of processes that ask this API; with TLS it is left to Prefect, and empty.

    Each client of Prefect (3.9) reads the whole store, for URLs of http:// as well: 50 ms, and a run makes
    half a dozen clients. None cannot be set, so it is one, in a file of `folder`. Nobody is trusted who was
    not: with that file, a server of https:// would be refused.
    """
    if not api_url.startswith("http://"):
        return {}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "one-certificate.pem"
    new = file.with_name(f".{file.name}.{os.getpid()}.new")
    first, end, _ = Path(certifi.where()).read_text(encoding="utf-8").partition(END)
    new.write_text(first + end, encoding="utf-8")
    new.replace(file)
    return {SETTING: str(file)}
