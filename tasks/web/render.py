"""Vhosts as text: one template and one quoting function for each kind of server.

Whatever enters a template passes `check_vhost` first and the server's quoting function last, so a value is
either refused or means itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from tasks.errors import PlanRefused
from tasks.fleet import ServerKind
from tasks.web.vhost import HTTP_PORT, Vhost, check_vhost, plain_value

HEADER = "# packmaster "
# apache takes the vhost that it reads first for every unknown name, and reads files in the order of their
# bytes: `+` is before anything that a host name begins with.
DEFAULT_FILE = "+default.conf"
PHP_SOCKET = "/run/php/packmaster.sock"
# A name nobody can own (RFC 6761 6.4), so asking for it always reaches the catch-all.
UNKNOWN_HOST = "packmaster.invalid"

# Regular expressions that apache and nginx (both PCRE, without regard to case) share.
_DOT_FILES = r"./\.|^/\.(?!well-known/)|/(?:CVS|RCS|SCCS|_darcs)/"
_PHP_FILES = r"\.(?:php\d*|phtml?|phar|pht|phps|phpt)(?:/|$)"
# From the .htaccess that Drupal ships, for AllowOverride None and nginx do not read it.
_SOURCES = (
    r"(?:\.(?:engine|inc|install|make|module|profile|sh|sql|theme|twig|xtmpl|yml|tpl\.php"
    r"|php\d+|phtml?|phar|pht|phps|phpt|bak|orig|save|sw[op])|~"
    r"|/(?:composer\.(?:json|lock)|package\.json|yarn\.lock|web\.config))$"
)
_NAMES_A_LINE = 10
_NGINX_WORD = 4096  # bytes: NGX_CONF_BUFFER, which one word of a configuration has to fit into


@dataclass(frozen=True, slots=True)
class Area:
    """URLs under one prefix. `data` come from `directory`, `static` from the document root without PHP."""

    prefix: str
    kind: Literal["data", "static", "denied"]
    directory: str = ""


def render_vhost(vhost: Vhost, kind: ServerKind, *, ipv6: bool = False) -> bytes:
    """Return one site's configuration for this kind of server; raises PlanRefused for what it cannot hold.

    nginx listens on IPv6 only when it is told to, and does not start where the kernel has none; apache finds
    out by itself, so `ipv6` changes nothing for it. The first lines say which site, platform and names it is
    of, for `tasks.web.facts`.
    """
    check_vhost(vhost)
    areas = _sort_areas(vhost)
    quote = _QUOTES[kind]
    text = (
        _templates()
        .get_template(f"{kind}.conf.j2")
        .render(
            header=_header(vhost),
            vhost=vhost,
            ipv6=ipv6,
            areas=areas,
            no_php=_alternatives([area.prefix for area in areas if area.kind != "denied"]),
            data=_alternatives([area.prefix for area in areas if area.kind == "data"]),
            environment=[(name, quote(plain_value(value))) for name, value in vhost.environment],
            home_url=f"http://{vhost.site}" + ("" if vhost.port == HTTP_PORT else f":{vhost.port}"),
            socket=PHP_SOCKET,
            dot_files=_DOT_FILES,
            php_files=_PHP_FILES,
            sources=_SOURCES,
        )
    )
    return text.encode()


def render_default(generation: str, kind: ServerKind, *, ipv6: bool = False) -> bytes:
    """Return the catch-all: unknown names get 404 and the generation that the server has loaded."""
    template = _templates().get_template(f"{kind}_default.conf.j2")
    return template.render(generation=generation, port=HTTP_PORT, ipv6=ipv6).encode()


def file_name(site: str) -> str:
    """The name of a site's file in a generation."""
    return f"{site}.conf"


def quote_apache(text: str) -> str:
    r"""Quote one argument of an apache directive.

    Only `"` and `\` are special inside quotes, but `${NAME}` is replaced afterwards, quoted or not, and once:
    the catch-all defines a name whose value is a dollar (httpd 2.4, "Syntax of the Configuration Files").
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("${", "${PACKMASTER_DOLLAR}{") + '"'


def quote_nginx(text: str) -> str:
    r"""Quote one parameter of an nginx directive that takes variables.

    `"` and `\` are escaped by `\`; a dollar has no escape at all, so it comes from a variable that the
    catch-all declares with `geo`, whose values are never interpolated. Raises PlanRefused when too long.
    """
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    quoted = '"' + escaped.replace("$", "${packmaster_dollar}") + '"'
    if len(quoted.encode()) >= _NGINX_WORD:
        raise PlanRefused(
            f"a value of {len(text)} characters is too long for nginx, where every $ becomes a variable",
            "Use a shorter value, or one without $",
        )
    return quoted


_QUOTES: dict[ServerKind, Callable[[str], str]] = {"apache": quote_apache, "nginx": quote_nginx}


def _header(vhost: Vhost) -> str:
    """As many lines as it takes: nginx reads comments, too, through a buffer of 4096 bytes."""
    lines = []
    for start in range(0, len(vhost.names), _NAMES_A_LINE):
        names = vhost.names[start : start + _NAMES_A_LINE]
        lines.append(HEADER + json.dumps({"site": vhost.site, "platform": vhost.platform, "names": names}))
    return "\n".join(lines)


def _sort_areas(vhost: Vhost) -> list[Area]:
    """Shortest first: nginx takes the longest whatever the order, apache what it reads last."""
    areas = [Area(mount.url, "data", mount.directory.removesuffix("/")) for mount in vhost.data]
    urls = {mount.url for mount in vhost.data}
    areas += [Area(prefix, "static") for prefix in vhost.php_denied if prefix not in urls]
    areas += [Area(prefix, "denied") for prefix in vhost.denied]
    return sorted(areas, key=lambda area: (len(area.prefix), area.prefix))


def _alternatives(prefixes: list[str]) -> str:
    """A regular expression for any of the prefixes, or "" for none: only `.` is special in them."""
    return "(?:" + "|".join(prefix.replace(".", r"\.") for prefix in prefixes) + ")" if prefixes else ""


@cache
def _templates() -> Environment:
    return Environment(  # noqa: S701 - these are no HTML pages; each value is quoted for its server
        loader=PackageLoader("tasks.web"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
