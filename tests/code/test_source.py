"""What text is which source, and what is refused before anything is opened."""

import pytest

from tasks.code.source import parse_source, split_user, without_secrets
from tasks.errors import PlanRefused

SHA = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "ref", "checksum", "kind", "location"),
    [
        ("/srv/code", "", "", "directory", "/srv/code"),
        ("/srv/code.git", "", "", "git", "/srv/code.git"),
        ("/srv/code", "main", "", "git", "/srv/code"),
        ("/srv/code.tar.gz", "", "", "archive", "/srv/code.tar.gz"),
        ("/srv/code.ZIP", "", f"sha256:{SHA}", "archive", "/srv/code.ZIP"),
        ("https://example.org/a.zip", "", SHA.upper(), "archive", "https://example.org/a.zip"),
        ("https://example.org/a.tgz?x=1", "", SHA, "archive", "https://example.org/a.tgz?x=1"),
        ("https://example.org/a.git", "", "", "git", "https://example.org/a.git"),
        ("https://example.org/a", "v1", "", "git", "https://example.org/a"),
        ("git+https://example.org/a", "", "", "git", "https://example.org/a"),
        ("ssh://git@example.org/a", "", "", "git", "ssh://git@example.org/a"),
        ("git@example.org:team/a.git", "v1", "", "git", "git@example.org:team/a.git"),
    ],
)
def test_kinds(text: str, ref: str, checksum: str, kind: str, location: str) -> None:
    spec = parse_source(text, ref, checksum)
    assert (spec.kind, spec.location) == (kind, location)
    assert spec.ref == ((ref or "HEAD") if kind == "git" else "")
    assert spec.checksum == (SHA if checksum else "")


@pytest.mark.parametrize(
    ("text", "ref", "checksum", "said"),
    [
        ("", "", "", "is empty"),
        ("code", "", "", "not an absolute path"),
        ("../code", "", "", "not an absolute path"),
        ("--upload-pack=touch /tmp/x", "v1", "", "neither a path nor"),
        ("/srv/co\nde", "", "", "neither a path nor"),
        ("ext::sh -c touch% /tmp/x", "", "", "not an absolute path"),
        ("ftp://example.org/a.zip", "", SHA, "not fetched over"),
        ("https://example.org/", "", "", "unclear"),
        ("https://example.org/a.zip", "", "", "without a checksum"),
        ("https://example.org/a.zip", "", "abc", "not a SHA-256"),
        ("/srv/code", "", SHA, "checksum is for archives"),
        ("/srv/code.git", "", SHA, "checksum is for archives"),
        *[
            ("/srv/c.git", ref, "", "not a branch")
            for ref in ("-x", "a..b", "a b", "a@{1}", "a:b", "x.lock", "$(x)", "a;b")
        ],
    ],
)
def test_refused(text: str, ref: str, checksum: str, said: str) -> None:
    with pytest.raises(PlanRefused, match=said):
        parse_source(text, ref, checksum)


def test_credentials_are_never_shown() -> None:
    spec = parse_source("https://me@example.org/a.git", "main")
    assert "me" not in str(spec).replace("https://example.org", "")
    assert (
        without_secrets("fatal: 'https://a:b@c/d' and https://e@f/") == "fatal: 'https://c/d' and https://f/"
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://me:s3cret@example.org/a.git",
        " https://me:s3cret@example.org/a",
        "https://:s3cret@example.org/a.git",
        "git+https://me:s3@cret@example.org/a",
        "ssh://me:s3cret@example.org/a.git",
        "https://me:s3cret@example.org/a.zip",
        "https://me:s3cret@example.org/\na.git",
    ],
)
def test_a_password_is_refused_and_not_said(url: str) -> None:
    with pytest.raises(PlanRefused, match="has a password in it") as refused:
        parse_source(url, "main")
    assert "cret" not in str(refused.value)
    assert "me" not in str(refused.value).split()


@pytest.mark.parametrize(
    "url",
    ["https://me@example.org/a.git", "ssh://git@example.org:22/a", "https://example.org:8443/a@b:c/d.git"],
)
def test_a_user_name_and_a_port_are_no_password(url: str) -> None:
    assert parse_source(url, "main").location == url


def test_a_user_name_is_taken_off() -> None:
    assert split_user("https://m%40e@h:8443/a?b") == ("https://h:8443/a?b", "m@e")
    assert split_user("ssh://git@h/a") == ("ssh://git@h/a", "")
