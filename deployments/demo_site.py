"""The demo's site as its visitors and its author see it: over HTTP, through one node at a time."""

from __future__ import annotations

import http.client
import sys
import xmlrpc.client
from typing import cast

SITE = "blog.example.test"
TITLE = "The Packmaster demo"
POST = "Written through one node, read through all"
HTTP_SECONDS = 30


def say(line: str) -> None:
    """Tell the person at the terminal what is going on, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def read_front_page(address: str) -> tuple[int, str]:
    """Status and body of the site's front page as the node at `address` answers it."""
    connection = http.client.HTTPConnection(address, 80, timeout=HTTP_SECONDS)
    try:
        connection.request("GET", "/", headers={"Host": SITE})
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    finally:
        connection.close()


class _NodeTransport(xmlrpc.client.Transport):
    """XML-RPC to one node, under the site's name."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def make_connection(self, host: object) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._address, 80, timeout=HTTP_SECONDS)


def publish_post(address: str, password: str) -> str:
    """Make sure the demo's post exists, written through the node at `address`; returns its title."""
    server = xmlrpc.client.ServerProxy(f"http://{SITE}/xmlrpc.php", transport=_NodeTransport(address))
    posts = cast(
        "list[dict[str, str]]", server.wp.getPosts(1, "admin", password, {"number": 50}, ["post_title"])
    )
    if not any(post["post_title"] == POST for post in posts):
        content = {"post_title": POST, "post_content": "From the database.", "post_status": "publish"}
        server.wp.newPost(1, "admin", password, content)
    return POST
