"""Sites asked for over HTTP, node by node, as a visitor would who only knows that node."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tasks.errors import PackmasterError, Unreachable
from tasks.fleet import Node
from tasks.outcome import Outcome
from tasks.web.render import UNKNOWN_HOST

HTTP_SECONDS = 10.0
RELOAD_SECONDS = 15.0
NO_VHOST = "no vhost on this server has that name"
_BODY_BYTES = 1 << 20
_MARK = b"packmaster "


@dataclass(frozen=True, slots=True)
class SiteCheck:
    """What a healthy site answers; `timeout` is in seconds and counts for the whole answer.

    A site that redirects to one of its `setup_pages` answers, and is as good as away.
    """

    uri: str
    path: str = "/"
    expect: range = range(200, 400)
    contains: str | None = None
    timeout: float = HTTP_SECONDS
    setup_pages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node answered; `body` is at most its first mebibyte, `seconds` the time it took."""

    url: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    seconds: float

    def header(self, name: str) -> str:
        """The first header of that name, or an empty text."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def is_catch_all(self) -> bool:
        """It came from no site's vhost."""
        return self.status == 404 and self.body.startswith(_MARK)

    @property
    def generation(self) -> str | None:
        """What the web server had loaded when it answered; only the catch-all says so."""
        return self.body[len(_MARK) :].decode("ascii", "replace").strip() if self.is_catch_all else None


@dataclass(frozen=True, slots=True)
class Answering:
    """The checks that hold on a node, and of each other one why it does not."""

    holding: tuple[SiteCheck, ...] = ()
    failing: tuple[str, ...] = ()


class SiteFailed(PackmasterError):  # noqa: N818
    """A node answered for a site, but not as a healthy site does.

    `generation` is the configuration that answered because it has no vhost of that name, if that was it.
    """

    def __init__(self, host: str, url: str, reason: str, generation: str | None = None) -> None:
        super().__init__(f"{url} on {host}: {reason}")
        self.host = host
        self.url = url
        self.reason = reason
        self.generation = generation

    def __reduce__(self) -> tuple[type[SiteFailed], tuple[str, str, str, str | None]]:
        return type(self), (self.host, self.url, self.reason, self.generation)


def fetch(node: Node, uri: str, path: str = "/", timeout: float = HTTP_SECONDS) -> Answer:
    """Return what the node's web server answers for a host name, following nothing, within `timeout` seconds.

    Raises Unreachable when there is no whole answer in time.
    """
    url, started = f"http://{uri}{path}", time.monotonic()
    connection = http.client.HTTPConnection(node.address, node.http_port, timeout=timeout)
    # The socket's timeout starts again with every byte, so a server that drips needs a bound on the whole.
    deadline = threading.Timer(timeout, lambda: None)
    try:
        connection.connect()
        deadline = threading.Timer(timeout, _cut, (connection.sock,))
        deadline.daemon = True
        deadline.start()
        connection.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
        for name, value in (("Host", uri), ("User-Agent", "packmaster"), ("Connection", "close")):
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        body = response.read(_BODY_BYTES)
        seconds = time.monotonic() - started
        # A cut connection reads like a short answer.
        if seconds >= timeout or len(body) < min(int(response.headers.get("Content-Length", 0)), _BODY_BYTES):
            raise http.client.IncompleteRead(body)
        return Answer(url, response.status, tuple(response.getheaders()), body, seconds)
    except (OSError, ValueError, http.client.HTTPException) as lost:
        late = isinstance(lost, TimeoutError) or time.monotonic() - started >= timeout
        reason = f"no whole answer in {timeout:.0f} s" if late else f"{type(lost).__name__}: {lost}"
        raise Unreachable(node.name, f"{url} at {node.address}:{node.http_port}: {reason}") from lost
    finally:
        deadline.cancel()
        connection.close()


def check_site(
    node: Node,
    uri: str,
    path: str = "/",
    expect: range = range(200, 400),
    contains: str | None = None,
    timeout: float = HTTP_SECONDS,
    setup_pages: tuple[str, ...] = (),
) -> Answer:
    """Return the answer of a healthy site; raises SiteFailed with the answer's beginning, or Unreachable."""
    answer = fetch(node, uri, path, timeout)
    if answer.is_catch_all:
        raise SiteFailed(node.name, answer.url, NO_VHOST, answer.generation)
    if answer.status not in expect:
        wanted = f"{expect.start} to {expect.stop - 1}" if len(expect) > 1 else f"{expect.start}"
        raise SiteFailed(
            node.name, answer.url, f"answered {answer.status}, not {wanted}:{_beginning(answer)}"
        )
    location = answer.header("location")
    # Not taken apart as a URL: what a site answers need not be one.
    if re.split("[?#]", location)[0].endswith(setup_pages):
        lost = f"answered {answer.status} and sends visitors to its installer, {location}"
        raise SiteFailed(node.name, answer.url, f"{lost}: its settings or its database are not found")
    if contains is not None and contains.encode() not in answer.body:
        missing = f"answered {answer.status} without {contains!r}:{_beginning(answer)}"
        raise SiteFailed(node.name, answer.url, missing)
    return answer


def run_check(node: Node, check: SiteCheck) -> str:
    """One line about a healthy site; raises as `check_site` does."""
    how = (check.path, check.expect, check.contains, check.timeout, check.setup_pages)
    answer = check_site(node, check.uri, *how)
    return f"{check.uri} {answer.status} in {answer.seconds * 1000:.0f} ms"


def check_sites(
    node: Node, checks: Sequence[SiteCheck], generation: str | None = None, seconds: float = RELOAD_SECONDS
) -> Outcome:
    """Every check was made, also after one that failed; the outcome names each failure.

    A node that was just reloaded with `generation` may on a busy machine let a worker with an older
    configuration answer once more: it is asked again, for `seconds` in all.
    """
    healthy: list[str] = []
    failures: list[str] = []
    ends = time.monotonic() + seconds
    for check, first in _ask_all(node, checks):
        said = first
        while generation and _is_outdated(said, generation) and time.monotonic() < ends:
            time.sleep(0.1)
            said = _ask(node, check)
        if isinstance(said, PackmasterError):
            failures.append(str(said))
        else:
            healthy.append(said)
    return Outcome(node.name, "check sites", False, ", ".join(healthy), "\n".join(failures) or None)


def find_answering(node: Node, checks: Sequence[SiteCheck]) -> Answering:
    """What holds now; what does not answer before a change cannot be held against it."""
    asked = list(_ask_all(node, checks))
    return Answering(
        tuple(check for check, said in asked if not isinstance(said, PackmasterError)),
        tuple(str(said) for _, said in asked if isinstance(said, PackmasterError)),
    )


def _ask_all(node: Node, checks: Sequence[SiteCheck]) -> Iterator[tuple[SiteCheck, str | PackmasterError]]:
    """Each check and what came of it.

    One slow answer is none yet: it is asked for again. Once that was in vain, the node's others are not.
    """
    patient = True
    for check in checks:
        said = _ask(node, check)
        if patient and isinstance(said, Unreachable):
            said = _ask(node, check)
            patient = not isinstance(said, Unreachable)
        yield check, said


def _ask(node: Node, check: SiteCheck) -> str | PackmasterError:
    try:
        return run_check(node, check)
    except PackmasterError as failure:
        return failure


def _is_outdated(said: str | PackmasterError, generation: str) -> bool:
    return isinstance(said, SiteFailed) and said.generation not in {None, generation}


def read_loaded_generation(node: Node, timeout: float = HTTP_SECONDS) -> str | None:
    """Return the generation that the web server has loaded; None when it answers anything else."""
    try:
        return fetch(node, UNKNOWN_HOST, "/", timeout).generation
    except Unreachable:
        return None


def _cut(sock: socket.socket) -> None:
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it has ended by itself


def _beginning(answer: Answer) -> str:
    text = answer.body[:300].decode("utf-8", "replace").strip()
    return f"\n    {text}" if text else " (an empty page)"
