"""Health checks against servers that behave, misbehave and never answer."""

import pickle
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from pydantic import SecretStr

from flows.release import site_checks
from tasks.errors import Unreachable
from tasks.fleet import Node
from tasks.web.check import (
    SiteCheck,
    SiteFailed,
    check_site,
    check_sites,
    find_answering,
    read_loaded_generation,
)
from tasks.web.install import check_routes
from tests.flows.registered import a_site

CHECKS = [SiteCheck("a.org", timeout=0.5), SiteCheck("b.org", timeout=0.5), SiteCheck("c.org", timeout=0.5)]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[Node]:
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:

        def accept() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                stack.enter_context(client)
                client.recv(65536)
                try:
                    answer(client)
                except OSError:
                    continue

        threading.Thread(target=accept, daemon=True).start()
        yield Node("web1", "127.0.0.1", "nginx", SecretStr(""), (), http_port=server.getsockname()[1])


def saying(content: bytes) -> Callable[[socket.socket], None]:
    def answer(client: socket.socket) -> None:
        client.sendall(content)
        client.close()

    return answer


def test_healthy() -> None:
    with serving(saying(OK)) as node:
        answer = check_site(node, "a.org", contains="hell")
        assert (answer.status, answer.body, answer.header("content-length")) == (200, b"hello", "5")
        outcome = check_sites(node, [SiteCheck("a.org")])
    assert outcome.ok
    assert outcome.detail.startswith("a.org 200 in ")


def test_every_failure_is_named() -> None:
    body = b"HTTP/1.1 500 Oops\r\nContent-Length: 8\r\n\r\nno luck!"
    with serving(saying(body)) as node:
        outcome = check_sites(
            node, [SiteCheck("a.org", "/x"), SiteCheck("b.org", expect=range(500, 501), contains="?")]
        )
    assert outcome.error is not None
    assert "http://a.org/x on web1: answered 500, not 200 to 399:\n    no luck!" in outcome.error
    assert "http://b.org/ on web1: answered 500 without '?'" in outcome.error


def test_an_old_worker_is_asked_again_and_a_missing_vhost_is_not() -> None:
    answers = iter([b"HTTP/1.1 404 Not Found\r\n\r\npackmaster old\n"] * 2 + [OK] * 2)

    def answer(client: socket.socket) -> None:
        saying(next(answers))(client)

    with serving(answer) as node:
        check_routes(node, [("a.org", 200), ("b.org", None)], "new")
    assert not list(answers)
    gone, still_served = b"HTTP/1.1 503 Off\r\n\r\n", b"HTTP/1.1 404 Not Found\r\n\r\nno such file"
    with serving(in_turn(saying(still_served), saying(still_served), saying(gone))) as node:
        check_routes(node, [("a.org", 503)], "new")
    with serving(saying(still_served)) as node, pytest.raises(SiteFailed, match="answered 404, not 503"):
        check_routes(node, [("a.org", 503)], "new", seconds=0.3)
    for said in (b"new", b"old"):
        content = b"HTTP/1.1 404 Not Found\r\n\r\npackmaster %s\n" % said
        with serving(saying(content)) as node, pytest.raises(SiteFailed, match="no vhost"):
            check_routes(node, [("a.org", 200)], "new", seconds=0.3)


def test_catch_all_is_not_the_site() -> None:
    with serving(saying(b"HTTP/1.1 404 Not Found\r\n\r\npackmaster 0123\n")) as node:
        assert read_loaded_generation(node) == "0123"
        with pytest.raises(SiteFailed, match="no vhost") as failed:
            check_site(node, "a.org", expect=range(400, 500))
    assert str(pickle.loads(pickle.dumps(failed.value))) == str(failed.value)


def in_turn(*answers: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """One answer after the other, then the last for ever."""
    left = list(answers)

    def answer(client: socket.socket) -> None:
        now = left.pop(0) if len(left) > 1 else left[0]
        now(client)

    return answer


def test_a_site_that_an_old_worker_does_not_know_is_asked_for_again_after_a_reload() -> None:
    old, new = (b"HTTP/1.1 404 Not Found\r\n\r\npackmaster %s\n" % name for name in (b"old", b"new"))
    with serving(in_turn(saying(old), saying(OK), saying(old), saying(old), saying(OK))) as node:
        assert check_sites(node, CHECKS, "new").ok
    with serving(in_turn(saying(new), saying(OK))) as node:
        assert "a.org/ on web1: no vhost" in (check_sites(node, CHECKS, "new").error or "")
    with serving(in_turn(saying(old), saying(OK))) as node:
        assert "a.org/ on web1: no vhost" in (check_sites(node, CHECKS).error or "")
    with serving(saying(old)) as node:
        assert (check_sites(node, CHECKS, "new", seconds=0.3).error or "").count("no vhost") == len(CHECKS)


def silent(client: socket.socket) -> None:
    """Nothing is ever said, and the connection stays."""


OOPS = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"


def test_one_slow_answer_is_asked_for_once_more() -> None:
    with serving(in_turn(silent, saying(OK))) as node:
        assert check_sites(node, CHECKS).ok
    with serving(in_turn(saying(OK), silent, saying(OK))) as node:
        assert find_answering(node, CHECKS).holding == tuple(CHECKS)


def test_a_wrong_answer_is_not_asked_for_again() -> None:
    with serving(in_turn(saying(OOPS), saying(OK))) as node:
        assert "http://a.org/ on web1: answered 500" in (check_sites(node, CHECKS).error or "")


def test_a_node_that_stays_silent_is_waited_for_once_more_and_not_for_each_site() -> None:
    started = time.monotonic()
    with serving(silent) as node:
        said = check_sites(node, CHECKS * 3).error or ""
    assert said.count("no whole answer") == 9
    assert time.monotonic() - started < 0.5 * 9 + 0.5 + 3


def test_what_does_not_answer_before_a_change_is_named() -> None:
    with serving(in_turn(saying(OOPS), silent, silent, saying(OK))) as node:
        found = find_answering(node, CHECKS)
    assert found.holding == (CHECKS[2],)
    assert "http://a.org/ on web1: answered 500" in found.failing[0]
    assert "http://b.org/ at " in found.failing[1]


def test_redirect_is_not_followed() -> None:
    with serving(saying(b"HTTP/1.1 302 Found\r\nLocation: http://other.org/\r\n\r\n")) as node:
        assert check_site(node, "a.org").header("location") == "http://other.org/"


@pytest.mark.parametrize("page", ["/wp-admin/setup-config.php", "/shop/wp-admin/install.php?step=1#x"])
def test_a_redirect_to_the_installer_is_no_healthy_site(page: str) -> None:
    """WordPress answers with it when it does not find its settings, or its tables in the database."""
    (check,) = site_checks([a_site("wordpress")])
    (plain,) = site_checks([a_site("php")])
    answer = f"HTTP/1.1 302 Found\r\nLocation: http://a.org{page}\r\n\r\n".encode()
    with serving(saying(answer)) as node:
        said = check_sites(node, [check]).error or ""
        assert check_sites(node, [plain]).ok
    assert f"sends visitors to its installer, http://a.org{page}" in said
    with serving(saying(b"HTTP/1.1 302 Found\r\nLocation: /wp-admin/install.php.html\r\n\r\n")) as node:
        assert check_sites(node, [check]).ok


def drip(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(100):
        client.sendall(b".")
        time.sleep(0.1)


def drip_headers(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(100):
        client.sendall(b"X-%d: y\r\n" % number)
        time.sleep(0.1)


@pytest.mark.parametrize(
    "answer", [lambda _: None, drip, drip_headers], ids=["silent", "dripping", "headers"]
)
def test_every_wait_is_bounded(answer: Callable[[socket.socket], None]) -> None:
    with serving(answer) as node:
        started = time.monotonic()
        with pytest.raises(Unreachable, match=r"no whole answer in 1 s"):
            check_site(node, "a.org", timeout=1)
        assert time.monotonic() - started < 3
        assert read_loaded_generation(node, 0.3) is None


@pytest.mark.parametrize(
    "content", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_half_an_answer_is_none(content: bytes) -> None:
    with serving(saying(content)) as node, pytest.raises(Unreachable, match=r"a\.org"):
        check_site(node, "a.org", timeout=2)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        node = Node("web1", "127.0.0.1", "nginx", SecretStr(""), (), http_port=server.getsockname()[1])
    with pytest.raises(Unreachable, match=r"web1 .*Connection"):
        check_site(node, "a.org", timeout=2)
