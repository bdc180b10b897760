"""Vhosts that the tests of this directory share."""

import pytest
from pydantic import SecretStr

from tasks.web.vhost import DataMount, Vhost

FULL = Vhost(
    site="example.org",
    platform="demo",
    docroot="/var/aegir/platforms/demo/current/web",
    aliases=("www.example.org", "shop.example.org"),
    redirects=("old.example.org",),
    data=(DataMount("/sites/example.org/files/", "/var/aegir/sites/example.org/files"),),
    environment=(("DB_NAME", "example"), ("DB_PASSWORD", SecretStr('a"b\\c$d${PATH} #{};%'))),
    denied=("/sites/", "/sites/example.org/private/"),
    php_denied=("/sites/all/", "/sites/example.org/"),
)
PLAIN = Vhost(
    site="plain.example.org",
    platform="plain",
    docroot="/var/aegir/platforms/plain/current",
    front_controller=None,
)
DISABLED = Vhost(
    site="off.example.org",
    platform="plain",
    docroot="/var/aegir/platforms/plain/current",
    aliases=("also-off.example.org",),
    redirects=("old-off.example.org",),
    enabled=False,
)


@pytest.fixture
def full() -> Vhost:
    return FULL


@pytest.fixture
def vhosts() -> dict[str, Vhost]:
    return {"full": FULL, "plain": PLAIN, "disabled": DISABLED}
