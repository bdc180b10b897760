"""The demo's site as its visitors and its author see it: over HTTP, through one node at a time."""

from __future__ import annotations

import http.client
import sys
import xmlrpc.client
from typing import Any, cast

from tasks.errors import PackmasterError

# Browsers take every name under .localhost to this machine, where the nodes' ports are published.
SITE = "blog.localhost"
TITLE = "The Packmaster demo"
POST = "Written through one node, read through all"
HTTP_SECONDS = 30


def say(line: str) -> None:
    """Tell the person at the terminal what is going on, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def read_front_page(address: str) -> tuple[int, str]:
    """Status and body of the site's front page as the node at `address` answers it."""
    status, body = _ask(address, "GET", "/")
    return status, body.decode("utf-8", "replace")


def publish_post(address: str, password: str) -> str:
    """Make sure the demo's post exists, written through the node at `address`; returns its title."""
    posts = _call(address, "wp.getPosts", 1, "admin", password, {"number": 50}, ["post_title"])
    if not any(post["post_title"] == POST for post in cast("list[dict[str, str]]", posts)):
        content = {"post_title": POST, "post_content": "From the database.", "post_status": "publish"}
        _call(address, "wp.newPost", 1, "admin", password, content)
    return POST


def _call(address: str, method: str, *arguments: Any) -> object:
    """Call WordPress's XML-RPC interface through one node; raises PackmasterError with its answer."""
    status, body = _ask(address, "POST", "/xmlrpc.php", xmlrpc.client.dumps(arguments, method).encode())
    if status != 200:
        raise PackmasterError(f"{method} through {address} was answered with {status}")
    try:
        (result,), _ = xmlrpc.client.loads(body)
    except xmlrpc.client.Fault as fault:
        raise PackmasterError(f"{method} through {address}: {fault.faultString}") from None
    return result


def _ask(address: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, 80, timeout=HTTP_SECONDS)
    try:
        connection.request(method, path, body, {"Host": SITE, "Content-Type": "text/xml"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
