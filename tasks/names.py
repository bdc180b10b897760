"""Names an operator types, checked before anything is touched.

A name that passes here is safe in a path, a shell word, a vhost, an artifact key and SQL: its alphabet
has nothing that any of them treats specially. Rules: RFC 1035 2.3.1 and RFC 1123 2.1 for host names.
"""

from __future__ import annotations

import re

import idna

from tasks.errors import PlanRefused

# For forms, which say at once what a run would refuse later: short enough to be read in a message.
SLUG_PATTERN = "^[a-z0-9-]{1,48}$"
HOST_NAME_PATTERN = "^[a-z0-9.-]{1,253}$"
# Anything but a URL with a password: a form keeps what is typed into it, and shows it to everybody.
SOURCE_PATTERN = r"^(?!\s*[A-Za-z0-9+.-]+://[^/@\s]*:[^/@\s]+@)"

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")


def check_host_name(name: str, what: str = "site name") -> str:
    """Return `name` when it is a lower-case host name of at most 253 characters; else raise PlanRefused."""
    shown = ascii(name)
    if not name:
        raise PlanRefused(f"the {what} is empty", "Give a host name such as www.example.org")
    if name != name.lower() and name.isascii():
        raise PlanRefused(f"the {what} {shown} has upper-case letters", f"Use {name.lower()!a}")
    if not name.isascii():
        raise PlanRefused(f"the {what} {shown} is an internationalised name", _suggest_ascii(name))
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise PlanRefused(
            f"the {what} {shown} is not a host name",
            "Use labels of a-z, 0-9 and -, not starting or ending with -, joined by single dots",
        )
    if labels[-1].isdigit():
        raise PlanRefused(f"the {what} {shown} looks like an IP address", "Use a host name")
    return name


def _suggest_ascii(name: str) -> str:
    try:
        return f"Use its ASCII form, {idna.encode(name, uts46=True).decode()}"
    except idna.IDNAError:
        return "Use its ASCII form (xn--...)"


def check_slug(name: str, what: str) -> str:
    """Return `name` when it is a short lower-case name (a-z, 0-9, -; at most 48); else raise PlanRefused."""
    if not _SLUG.fullmatch(name):
        raise PlanRefused(
            f"the {what} {name!a} is not usable as a name",
            "Use at most 48 of a-z, 0-9 and -, starting and ending with a letter or digit",
        )
    return name


def check_docroot(path: str) -> str:
    """Return a document root relative to the release (`""` for its top); refuse one that could leave it."""
    cleaned = path.strip("/")
    if cleaned and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*", cleaned):
        raise PlanRefused(
            f"the document root {path!a} is not a plain relative path",
            "Give a directory inside the source, such as web or public/htdocs, or leave it empty",
        )
    return cleaned


def refuse_password(source: str, what: str = "the source") -> None:
    """Raise PlanRefused, without saying it, when the URL of a source has a password; a user name is none."""
    if not re.search(SOURCE_PATTERN, source):
        raise PlanRefused(
            f"the URL of {what} has a password in it, which everybody could read who sees the platform",
            "Leave it out, and change it. For git, let the worker's ssh key in, or give the worker the login "
            "once: git config --global credential.helper store, then git ls-remote with the URL",
        )


def unique_or_refuse(names: list[str], what: str) -> tuple[str, ...]:
    """Return the names as a tuple; raise PlanRefused naming the first that occurs twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise PlanRefused(f"the {what} {name!a} is listed twice", "Remove one of them")
        seen.add(name)
    return tuple(names)
