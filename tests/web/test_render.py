"""Golden renderings, and nothing an operator types can mean more than itself.

After an intended change: `PACKMASTER_GOLDEN=write pytest tests/web/test_render.py`, then read the difference.
"""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import PlanRefused
from tasks.fleet import ServerKind
from tasks.web.render import (
    DEFAULT_FILE,
    HEADER,
    file_name,
    quote_apache,
    quote_nginx,
    render_default,
    render_vhost,
)
from tasks.web.vhost import DataMount, Vhost

GOLDEN = Path(__file__).parent / "golden"
KINDS: tuple[ServerKind, ...] = ("apache", "nginx")
PRINTABLE = st.text(st.characters(codec="utf-8").filter(str.isprintable), max_size=60)
NASTY = (
    'a"; } evil {',
    "a b",
    "a;b",
    "a\nListen 81",
    "$(id)",
    "${PATH}",
    "a'b",
    "a\\",
    "../../etc",
    "a{b",
    "#x",
    "a\0b",
    "<a>",
    "a*",
    "",
)


def assert_golden(name: str, content: bytes) -> None:
    path = GOLDEN / name
    if os.environ.get("PACKMASTER_GOLDEN") == "write":
        path.write_bytes(content)
    assert content.decode() == path.read_text()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ["full", "plain", "disabled"])
def test_golden(kind: ServerKind, case: str, vhosts: dict[str, Vhost]) -> None:
    assert_golden(f"{kind}-{case}.conf", render_vhost(vhosts[case], kind, ipv6=True))


@pytest.mark.parametrize("kind", KINDS)
def test_golden_default(kind: ServerKind) -> None:
    assert_golden(f"{kind}-default.conf", render_default("0123456789ab", kind, ipv6=True))


@pytest.mark.parametrize("kind", KINDS)
def test_without_ipv6_nothing_listens_there_and_all_else_is_the_same(kind: ServerKind, full: Vhost) -> None:
    for six, four in (
        (render_vhost(full, kind, ipv6=True), render_vhost(full, kind, ipv6=False)),
        (render_default("0", kind, ipv6=True), render_default("0", kind, ipv6=False)),
    ):
        there = [line for line in six.splitlines() if b"listen [::]:80" not in line]
        assert there == four.splitlines()
        # For each address of the one family, one of the other.
        assert six.count(b"listen [::]:80") == four.count(b"listen 80") == four.count(b"listen ")
        assert (b"listen" in four) is (kind == "nginx")


@pytest.mark.parametrize("kind", KINDS)
def test_header_says_whose_it_is(kind: ServerKind, full: Vhost) -> None:
    first = render_vhost(full, kind).decode().splitlines()[0]
    assert json.loads(first.removeprefix(HEADER)) == {
        "site": "example.org",
        "platform": "demo",
        "names": ["example.org", "www.example.org", "shop.example.org", "old.example.org"],
    }


@pytest.mark.parametrize("site", ["0.org", "00.org", "000-default", "0-0.org", "a.org"])
def test_catch_all_is_read_first(site: str) -> None:
    assert sorted([file_name(site), DEFAULT_FILE])[0] == DEFAULT_FILE


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", NASTY)
@pytest.mark.parametrize(
    "field", ["site", "platform", "docroot", "alias", "redirect", "data_url", "data_directory"]
)
def test_nothing_else_gets_in(kind: ServerKind, bad: str, field: str, full: Vhost) -> None:
    changes = {
        "alias": {"aliases": (bad,)},
        "redirect": {"redirects": (bad,)},
        "data_url": {"data": (DataMount(bad, "/var/aegir/sites/x/files"),)},
        "data_directory": {"data": (DataMount("/files/", bad),)},
    }
    with pytest.raises(PlanRefused):
        render_vhost(replace(full, **changes.get(field, {field: bad})), kind)


@pytest.mark.parametrize("bad", [*NASTY[:-1], "/files", "files/", "/../", "/a/../b/", "/.git/"])
@pytest.mark.parametrize("field", ["denied", "php_denied"])
def test_prefixes_are_plain(bad: str, field: str, full: Vhost) -> None:
    with pytest.raises(PlanRefused):
        render_vhost(replace(full, **{field: (bad,)}), "nginx")


@pytest.mark.parametrize("bad", [*NASTY, "index.html", "/index.php", "../index.php"])
def test_front_controller_is_a_script(bad: str, full: Vhost) -> None:
    with pytest.raises(PlanRefused):
        render_vhost(replace(full, front_controller=bad), "apache")


@pytest.mark.parametrize(
    "name",
    [*NASTY, "lower", "1A", "HTTP_HOST", "SCRIPT_FILENAME", "PHP_ADMIN_VALUE", "REDIRECT_STATUS", "HTTPS"],
)
def test_environment_names(name: str, full: Vhost) -> None:
    with pytest.raises(PlanRefused):
        render_vhost(replace(full, environment=((name, "x"),)), "nginx")


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "a\x1b[0m", "a\tb", "\ud800", "x" * 1025])
def test_environment_values_no_file_can_hold(value: str, full: Vhost) -> None:
    with pytest.raises(PlanRefused) as refused:
        render_vhost(replace(full, environment=(("SECRET", value),)), "apache")
    assert value not in str(refused.value)


def test_too_many_dollars_for_nginx(full: Vhost) -> None:
    costly = replace(full, environment=(("SECRET", "$" * 500),))
    assert render_vhost(costly, "apache")
    with pytest.raises(PlanRefused, match="too long for nginx"):
        render_vhost(costly, "nginx")


@pytest.mark.parametrize("kind", KINDS)
def test_denying_php_in_data_says_nothing_new(kind: ServerKind, full: Vhost) -> None:
    data = tuple(mount.url for mount in full.data)
    assert render_vhost(replace(full, php_denied=(*full.php_denied, *data)), kind) == render_vhost(full, kind)
    with pytest.raises(PlanRefused, match="given twice"):
        render_vhost(replace(full, denied=data), kind)


@pytest.mark.parametrize(
    "names",
    [
        {"aliases": ("a.org", "a.org")},
        {"aliases": ("example.org",)},
        {"aliases": ("a.org",), "redirects": ("a.org",)},
    ],
)
def test_a_name_is_given_once(names: dict[str, tuple[str, ...]], full: Vhost) -> None:
    with pytest.raises(PlanRefused, match="given twice"):
        render_vhost(replace(full, **names), "apache")


@given(PRINTABLE)
def test_apache_reads_back_what_was_quoted(value: str) -> None:
    # ap_getword_conf() takes the backslashes away, then ap_resolve_env() replaces ${…}, once.
    quoted = quote_apache(value)
    assert re.fullmatch(r'"(?:[^"\\]|\\["\\])*"', quoted)
    word = re.sub(r'\\(["\\])', r"\1", quoted[1:-1])
    defined = {"PACKMASTER_DOLLAR": "$"}
    assert re.sub(r"\$\{([^}]*)\}", lambda name: defined[name[1]], word) == value


@given(PRINTABLE)
def test_nginx_reads_back_what_was_quoted(value: str) -> None:
    quoted = quote_nginx(value)
    assert re.fullmatch(r'"(?:[^"\\]|\\["\\])*"', quoted)
    word = re.sub(r'\\(["\\])', r"\1", quoted[1:-1])
    assert "$" not in word.replace("${packmaster_dollar}", "")
    assert word.replace("${packmaster_dollar}", "$") == value
