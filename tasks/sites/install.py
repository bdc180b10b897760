"""Run an application's installer once, with its secrets on standard input only."""

from __future__ import annotations

import json
import secrets
import string
from typing import Literal, cast

from pydantic import SecretStr

from tasks.errors import CommandFailed
from tasks.sites.plan import WEB_USER, Credentials, Site
from tasks.sites.profiles import BOOTSTRAP, Profile
from tasks.sites.vhost import environment_for
from tasks.ssh import Ssh

INSTALL_SECONDS = 300
_ALPHABET = string.ascii_letters + string.digits

# A stack trace must not show the arguments of the call that failed: the password is one of them.
_PHP = ("php", "-d", "display_errors=stderr", "-d", "zend.exception_ignore_args=1", "-d", "memory_limit=512M")

Installed = Literal["installed", "present", "manual", "none"]


def new_password(length: int = 32) -> SecretStr:
    """Return a password of letters and digits, which need no quoting anywhere (190 bits at 32)."""
    return SecretStr("".join(secrets.choice(_ALPHABET) for _ in range(length)))


def new_seed() -> SecretStr:
    """Return a fresh seed for a settings file: 256 bits."""
    return SecretStr(secrets.token_hex(32))


def install_site(
    ssh: Ssh, site: Site, profile: Profile, credentials: Credentials, admin_password: SecretStr
) -> Installed:
    """The application's tables and first account exist; safe to run again, and to run after it was killed.

    Returns `installed` when this call did it, `present` when it was there, `none` when the profile has no
    installer, `manual` when a person has to open the installer in a browser (Drupal without drush).
    `admin_password` is used only by the call that installs. Raises CommandFailed with PHP's message.
    """
    if not profile.installer:
        return "none"
    environment = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in environment_for(site, credentials)
    }
    environment |= {
        "PACKMASTER_TITLE": site.title or site.uri,
        "PACKMASTER_ADMIN_USER": site.admin_user,
        "PACKMASTER_ADMIN_EMAIL": site.admin_email or f"webmaster@{site.uri}",
        "PACKMASTER_ADMIN_PASSWORD": admin_password.get_secret_value(),
    }
    job = {"environment": environment, "docroot": site.docroot_in(), "script": profile.installer}
    meaning = f"the {profile.title} installer failed"
    result = ssh.run(
        [*_PHP, "-r", BOOTSTRAP],
        stdin=json.dumps(job).encode(),
        as_user=WEB_USER,
        timeout=INSTALL_SECONDS,
        meaning=meaning,
    )
    verdict = result.text.strip().rpartition("packmaster: ")[2]
    if verdict not in {"installed", "present", "manual"}:
        # wp_die() ends with status 0, or says on a page of HTML that the database is away.
        raise CommandFailed(result, meaning)
    return cast("Installed", verdict)
