"""What clients trust: nothing that they would not have trusted, and nothing less where it matters."""

from __future__ import annotations

import ssl
from pathlib import Path

from deployments.certificates import SETTING, certificates_for


def test_without_tls_one_certificate_is_read(tmp_path: Path) -> None:
    environment = certificates_for("http://127.0.0.1:4200/api", tmp_path / "home")
    context = ssl.create_default_context(cafile=environment[SETTING])
    assert len(context.get_ca_certs()) == 1
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert [file.name for file in (tmp_path / "home").iterdir()] == [Path(environment[SETTING]).name]
    assert certificates_for("http://127.0.0.1:4200/api", tmp_path / "home") == environment


def test_with_tls_it_is_left_to_prefect(tmp_path: Path) -> None:
    assert certificates_for("https://prefect.example.org/api", tmp_path / "home") == {}
    assert certificates_for("", tmp_path / "home") == {}
    assert not (tmp_path / "home").exists()
