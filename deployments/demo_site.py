"""The demo's site as its visitors and its author see it: over HTTP, through one node at a time."""

from __future__ import annotations

import http.client
import sys
import xmlrpc.client
from typing import Any, cast
from urllib.parse import urlsplit

from tasks.errors import PackmasterError

# Browsers take every name under .localhost to this machine, where the nodes' ports are published.
SITE = "blog.localhost"
PACK_SITE = "farm.localhost"
TITLE = "The Packmaster demo"
POST = "Written through one node, read through all"
UPLOAD = "uploaded.txt"
HTTP_SECONDS = 30
# What WordPress answers to a login that it does not know.
WRONG_LOGIN = 403


def say(line: str) -> None:
    """Tell the person at the terminal what is going on, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def read_page(address: str, site: str, path: str = "/") -> tuple[int, str]:
    """Status and body of a page of the site as the node at `address` answers it."""
    status, body = _ask(address, site, "GET", path)
    return status, body.decode("utf-8", "replace")


def publish_post(address: str, site: str, password: str) -> str:
    """Make sure the demo's post exists, written through the node at `address`; returns its title."""
    posts = _call(address, site, "wp.getPosts", 1, "admin", password, {"number": 50}, ["post_title"])
    if not any(post["post_title"] == POST for post in cast("list[dict[str, str]]", posts)):
        content = {"post_title": POST, "post_content": "From the database.", "post_status": "publish"}
        _call(address, site, "wp.newPost", 1, "admin", password, content)
    return POST


def upload_file(address: str, site: str, password: str) -> str:
    """Make sure the demo's upload exists, sent through the node at `address`; returns its path there."""
    found = _call(address, site, "wp.getMediaLibrary", 1, "admin", password, {"number": 50})
    links = [item["link"] for item in cast("list[dict[str, str]]", found) if UPLOAD in item["link"]]
    if not links:
        content = {"name": UPLOAD, "type": "text/plain", "bits": xmlrpc.client.Binary(POST.encode())}
        made = cast("dict[str, str]", _call(address, site, "wp.uploadFile", 1, "admin", password, content))
        links = [made["url"]]
    return urlsplit(links[0]).path


def _call(address: str, site: str, method: str, *arguments: Any) -> object:
    """Call WordPress's XML-RPC interface through one node; raises PackmasterError with its answer."""
    body = xmlrpc.client.dumps(arguments, method).encode()
    status, body = _ask(address, site, "POST", "/xmlrpc.php", body)
    if status != 200:
        raise PackmasterError(f"{method} through {address} was answered with {status}")
    try:
        (result,), _ = xmlrpc.client.loads(body)
    except xmlrpc.client.Fault as fault:
        told = f"{method} through {address}: {fault.faultString}"
        if fault.faultCode == WRONG_LOGIN:
            told += f" {site} is of an earlier demo, whose Prefect server is gone. `make down`, then again."
        raise PackmasterError(told) from None
    return result


def _ask(address: str, site: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, 80, timeout=HTTP_SECONDS)
    try:
        connection.request(method, path, body, {"Host": site, "Content-Type": "text/xml"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()
