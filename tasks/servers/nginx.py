"""Where our line goes in nginx.conf: a reader of just enough of nginx's grammar to find the http block.

Grammar: https://nginx.org/en/docs/beginners_guide.html#conf_structure
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.fleet import CONFIG
from tasks.servers.state import IncludeState

INCLUDE = f"include {CONFIG}/live/*.conf; # packmaster"

_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)
      | (?P<quoted>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
      | (?P<mark>[{};])
      | (?P<word>(?:\$\{[^}]*\}|\\.|[^\s{};"'\\])(?:\$\{[^}]*\}|\\.|[^\s{};\\])*)
      | (?P<space>\s+)
      | (?P<stray>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_START = ("{", "}", ";")


def include_state(text: str) -> IncludeState:
    """Say whether the text of nginx.conf holds our include line in its http block."""
    block = _find_http_block(text)
    if block is None:
        return "no http block"
    start, stop = block
    return "present" if INCLUDE in (line.strip() for line in text[start:stop].splitlines()) else "absent"


def insert_include(text: str) -> str | None:
    """Return the text with our line last in the http block, unchanged if it is there; None without one.

    Last, so that everything our files may refer to (log formats, maps) has been defined before.
    """
    block = _find_http_block(text)
    if block is None:
        return None
    if include_state(text) == "present":
        return text
    _, stop = block
    # The closing brace may share its line with something else; our comment must not swallow it.
    head = text[:stop].rstrip(" \t")
    glue = "" if head.endswith("\n") else "\n"
    return f"{head}{glue}\t{INCLUDE}\n{text[stop:]}"


def _find_http_block(text: str) -> tuple[int, int] | None:
    """The offsets of the inside of the only top-level http block, or None."""
    found: list[tuple[int, int]] = []
    depth, opened, words = 0, None, 0
    last = ""
    for part, start, stop in _tokens(text):
        if part not in _BLOCK_START:
            last, words = part, words + 1
            continue
        if part == "{":
            depth += 1
            if depth == 1 and words == 1 and last == "http":
                opened = stop
        elif part == "}":
            depth -= 1
            if depth < 0:
                return None
            if depth == 0 and opened is not None:
                found.append((opened, start))
                opened = None
        last, words = "", 0
    return found[0] if depth == 0 and len(found) == 1 else None


def _tokens(text: str) -> Iterator[tuple[str, int, int]]:
    for match in _TOKEN.finditer(text):
        if match.lastgroup not in ("comment", "space"):
            yield match.group(), match.start(), match.end()
