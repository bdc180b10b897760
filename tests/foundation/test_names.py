"""What passes the names' checks is safe everywhere a name goes; what does not gets a helpful refusal."""

import re
import shlex
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.errors import PlanRefused
from tasks.names import (
    HOST_NAME_PATTERN,
    SLUG_PATTERN,
    check_docroot,
    check_host_name,
    check_slug,
    unique_or_refuse,
)

SAFE_HOST = re.compile(r"[a-z0-9.-]{1,253}")
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
# Mostly what a name is made of, and what would hurt: random text alone would never come near a good name.
ALMOST_NAMES = st.text(alphabet=st.sampled_from("ab09.-_/ '\"`;$()&|\\\n\r\t\0%*?A\u00e9\u0430"), max_size=40)

BAD_HOST_NAMES = {
    "empty": "",
    "space": "my site.example.org",
    "leading space": " www.example.org",
    "trailing space": "www.example.org ",
    "single quote": "a'b.example.org",
    "double quote": 'a"b.example.org',
    "semicolon": "a;reboot.example.org",
    "substitution": "$(reboot).example.org",
    "backquote": "`reboot`.example.org",
    "variable": "${IFS}.example.org",
    "newline": "a.example.org\nInclude /etc/passwd",
    "trailing newline": "www.example.org\n",
    "carriage return": "www.example.org\r",
    "tab": "a\tb.example.org",
    "null byte": "a.example.org\0",
    "parent directory": "..",
    "path": "../../etc/passwd",
    "dots inside": "a..example.org",
    "leading dot": ".example.org",
    "trailing dot": "www.example.org.",
    "wildcard": "*.example.org",
    "underscore": "my_site.example.org",
    "upper case": "WWW.Example.org",
    "leading hyphen": "-rf.example.org",
    "trailing hyphen": "www-.example.org",
    "hyphen before the end": "www.example-",
    "port": "www.example.org:8080",
    "url": "http://www.example.org",
    "percent": "%.example.org",
    "label too long": "a" * 64 + ".example.org",
    "too long": ".".join(["a" * 49] * 6),
    "ip address": "192.0.2.10",
    "ip version 6": "2001:db8::1",
    "number": "2130706433",
    "idn": "münchen.example.org",
    "cyrillic look-alike": "ex\u0430mple.org",
    "full-width letters": "\uff57\uff57\uff57.example.org",
    "arabic digits": "a\u0661.example.org",
}


@pytest.mark.parametrize("name", BAD_HOST_NAMES.values(), ids=BAD_HOST_NAMES.keys())
def test_a_bad_host_name_is_refused_with_one_printable_line(name: str) -> None:
    with pytest.raises(PlanRefused) as refused:
        check_host_name(name)
    message = str(refused.value)
    assert message.startswith("the site name ")
    assert refused.value.remedy
    # What was typed is shown, but never so that it could forge lines of a log or steer a terminal.
    assert message.isprintable()


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("münchen.example.org", "xn--mnchen-3ya.example.org"),
        ("BÜCHER.example.org", "xn--bcher-kva.example.org"),
        ("WWW.Example.org", "'www.example.org'"),
        ("пример.example", "xn--e1afmkfd.example"),
    ],
)
def test_the_refusal_suggests_the_name_to_use(name: str, suggestion: str) -> None:
    with pytest.raises(PlanRefused, match=re.escape(suggestion)):
        check_host_name(name)


def test_the_refusal_says_what_kind_of_name_it_is() -> None:
    with pytest.raises(PlanRefused, match="the alias "):
        check_host_name("a b", "alias")


@pytest.mark.parametrize(
    "name", ["www.example.org", "a", "localhost", "xn--mnchen-3ya.example.org", "1.example.org", "a-b.c0"]
)
def test_a_good_host_name_passes_unchanged(name: str) -> None:
    assert check_host_name(name) == name


def test_the_longest_host_name_passes_and_one_more_does_not() -> None:
    longest = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    assert len(longest) == 253
    assert check_host_name(longest) == longest
    with pytest.raises(PlanRefused):
        check_host_name(longest + "e")


@given(st.one_of(ALMOST_NAMES, st.text()))
def test_whatever_passes_is_of_the_safe_alphabet(name: str) -> None:
    try:
        checked = check_host_name(name)
    except PlanRefused:
        return
    assert checked == name
    assert SAFE_HOST.fullmatch(name)
    assert shlex.quote(name) == name
    assert name not in {".", ".."}
    assert not name.startswith(("-", "."))
    assert not name.endswith(("-", "."))


@given(st.one_of(ALMOST_NAMES, st.text()))
def test_no_form_refuses_what_a_flow_would_take(name: str) -> None:
    for pattern, check in (
        (SLUG_PATTERN, lambda: check_slug(name, "name")),
        (HOST_NAME_PATTERN, lambda: check_host_name(name)),
    ):
        with suppress(PlanRefused):
            check()
            assert re.search(pattern, name)


@given(st.lists(LABEL, min_size=1, max_size=5).filter(lambda labels: not labels[-1].isdigit()))
def test_every_name_of_good_labels_passes(labels: list[str]) -> None:
    assert check_host_name(".".join(labels)) == ".".join(labels)


@given(st.one_of(ALMOST_NAMES, st.text()))
def test_a_slug_is_one_safe_word(name: str) -> None:
    try:
        check_slug(name, "platform")
    except PlanRefused:
        return
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,47}", name)
    assert not name.endswith("-")


@pytest.mark.parametrize("name", ["", "Blog", "a b", "a.b", "-a", "a-", "a\n", "../a", "a" * 49, "é"])
def test_a_bad_slug_is_refused(name: str) -> None:
    with pytest.raises(PlanRefused, match="the platform"):
        check_slug(name, "platform")


@pytest.mark.parametrize(
    ("given_path", "inside"),
    [("", ""), ("/", ""), ("web", "web"), ("/web/", "web"), ("public/ht_docs-2", "public/ht_docs-2")],
)
def test_a_docroot_becomes_relative_to_the_release(given_path: str, inside: str) -> None:
    assert check_docroot(given_path) == inside


@pytest.mark.parametrize(
    "path",
    ["..", "web/..", "web/../../etc", "./web", ".git", "web//html", "a b", "web;x", "web\n", "$(x)", "é"],
)
def test_a_docroot_that_could_leave_the_release_is_refused(path: str) -> None:
    with pytest.raises(PlanRefused, match="document root"):
        check_docroot(path)


@given(st.one_of(ALMOST_NAMES, st.text()))
def test_a_docroot_never_leaves_the_release(path: str) -> None:
    try:
        inside = check_docroot(path)
    except PlanRefused:
        return
    assert not inside.startswith("/")
    assert all(part not in {".", ".."} for part in inside.split("/"))
    assert check_docroot(inside) == inside


def test_unique_names_keep_their_order() -> None:
    assert unique_or_refuse(["b", "a"], "server") == ("b", "a")
    assert unique_or_refuse([], "server") == ()


def test_a_repeated_name_is_refused_by_name() -> None:
    with pytest.raises(PlanRefused, match="the web server 'a' is listed twice"):
        unique_or_refuse(["a", "b", "a"], "web server")
