"""What a site looks like to a web server: plain values, checked before they come near a configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pydantic import SecretStr

from tasks.errors import PlanRefused
from tasks.names import check_host_name, check_slug

HTTP_PORT = 80
_DIRECTORY = re.compile(r"(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)+")
_PREFIX = re.compile(r"/(?:[A-Za-z0-9_][A-Za-z0-9._-]*/)+")
_SCRIPT = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*/)*[A-Za-z0-9_][A-Za-z0-9._-]*\.php")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
# What the web server itself tells PHP (RFC 3875 4.1), and what changes PHP's own settings (php-fpm).
_RESERVED = re.compile(
    r"(?:AUTH_|CONTENT_|DOCUMENT_|GATEWAY_|HTTP_|PATH_|PHP_|QUERY_|REDIRECT_|REMOTE_|REQUEST_|SCRIPT_|SERVER_)"
    r".*|HTTPS|PATH"
)
_LONGEST_VALUE = 1024  # bytes


@dataclass(frozen=True, slots=True)
class DataMount:
    """URLs under `url` (it begins and ends with `/`) are files of `directory`; PHP is never run there."""

    url: str
    directory: str


@dataclass(frozen=True, slots=True)
class Vhost:
    """One site as its web servers have to serve it.

    `aliases` are served, `redirects` answer 301 to the site's name. `environment` reaches PHP as `$_SERVER`.
    URL prefixes begin and end with `/`; where several match, the longest decides: `data` is served from its
    directory, `denied` is refused, `php_denied` is served from the document root without ever executing PHP
    (so a `php_denied` prefix inside a `denied` one opens it for plain files). `docroot` is absolute, through
    `current`. `tls` is where a certificate will go.
    """

    site: str
    platform: str
    docroot: str
    aliases: tuple[str, ...] = ()
    redirects: tuple[str, ...] = ()
    data: tuple[DataMount, ...] = ()
    environment: tuple[tuple[str, str | SecretStr], ...] = ()
    front_controller: str | None = "index.php"
    denied: tuple[str, ...] = ()
    php_denied: tuple[str, ...] = ()
    port: int = HTTP_PORT
    tls: None = None
    enabled: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """Every host name this site takes."""
        return (self.site, *self.aliases, *self.redirects)


def check_vhost(vhost: Vhost) -> Vhost:
    """Return the vhost when every value in it can stand in a configuration; else raise PlanRefused.

    The alphabets leave nothing that means something to apache, nginx or a regular expression but `.`.
    """
    check_host_name(vhost.site)
    for name in vhost.aliases:
        check_host_name(name, f"alias of {vhost.site}")
    for name in vhost.redirects:
        check_host_name(name, f"redirect of {vhost.site}")
    check_slug(vhost.platform, "platform")
    _refuse_repeated(vhost, "name", vhost.names)
    # PHP is denied in data anyway, so saying it is no contradiction.
    _refuse_repeated(vhost, "URL prefix", (*(mount.url for mount in vhost.data), *vhost.denied))
    _refuse_repeated(vhost, "URL prefix", (*vhost.denied, *vhost.php_denied))
    _match(vhost, "document root", _DIRECTORY, vhost.docroot)
    for mount in vhost.data:
        _match(vhost, "URL of data", _PREFIX, mount.url)
        _match(vhost, "data directory", _DIRECTORY, mount.directory.removesuffix("/"))
    for prefix in (*vhost.denied, *vhost.php_denied):
        _match(vhost, "URL prefix", _PREFIX, prefix)
    if vhost.front_controller is not None:
        _match(vhost, "front controller", _SCRIPT, vhost.front_controller)
    if not 1 <= vhost.port <= 65535:
        raise PlanRefused(f"{vhost.site}: {vhost.port} is not a port", "Use 1 to 65535")
    _check_environment(vhost)
    return vhost


def plain_value(value: str | SecretStr) -> str:
    """What is to be written into the configuration."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _check_environment(vhost: Vhost) -> None:
    _refuse_repeated(vhost, "environment variable", tuple(name for name, _ in vhost.environment))
    for name, value in vhost.environment:
        _match(vhost, "environment variable", _VARIABLE, name)
        if _RESERVED.fullmatch(name):
            raise PlanRefused(
                f"{vhost.site}: the environment variable {name} belongs to the web server", "Use another name"
            )
        text = plain_value(value)
        if not text.isprintable() or not _is_encodable(text):
            raise PlanRefused(
                f"{vhost.site}: the value of {name} has characters that are not printable",
                "No configuration file can hold them: encode the value, for instance as base64",
            )
        if len(text.encode()) > _LONGEST_VALUE:
            raise PlanRefused(
                f"{vhost.site}: the value of {name} is longer than {_LONGEST_VALUE} bytes",
                "Put it into a file below the site's private directory",
            )


def _is_encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _match(vhost: Vhost, what: str, pattern: re.Pattern[str], text: str) -> None:
    if not pattern.fullmatch(text):
        raise PlanRefused(
            f"{vhost.site}: the {what} {text!a} cannot stand in a web server's configuration",
            "Use a-z, A-Z, 0-9, _, - and . (not as a first character); prefixes begin and end with /",
        )


def _refuse_repeated(vhost: Vhost, what: str, items: tuple[str, ...]) -> None:
    for position, item in enumerate(items):
        if item in items[:position]:
            raise PlanRefused(f"{vhost.site}: the {what} {item!a} is given twice", "Remove one of them")
