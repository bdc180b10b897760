"""Releases from real git repositories, with a login and without."""

import base64
import functools
import http.server
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.code.build import build_release
from tasks.code.source import parse_source
from tasks.errors import PlanRefused, Unreachable
from tests.code.building import code, git, repository, work

__all__ = ["code", "repository", "work"]


class Guarded(http.server.SimpleHTTPRequestHandler):
    """Files for whoever has the login."""

    login = "me:s3cret"

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        if base64.b64decode(given).decode() == self.login:
            return super().do_GET()
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="code"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@dataclass
class Private:
    port: int
    home: Path


@pytest.mark.parametrize(("ref", "number"), [("v1", "1"), ("main", "2"), ("", "2"), ("commit", "1")])
def test_refs(repository: Path, work: Path, ref: str, number: str) -> None:
    if ref == "commit":
        ref = git("rev-parse", "HEAD~1", cwd=repository).strip()
    spec = parse_source(f"file://{repository}", ref or "HEAD")
    built = build_release(spec, {}, work)
    assert (built.tree / "web/index.php").read_text() == f"<?php echo {number};"
    assert not (built.tree / ".git").exists()
    assert build_release(spec, {}, work).tree == built.tree


def test_the_same_content_from_git_and_from_a_directory_is_one_release(repository: Path, work: Path) -> None:
    one = build_release(parse_source(str(repository), "main"), {}, work)
    two = build_release(parse_source(str(repository)), {}, work)
    assert one.manifest == two.manifest


def test_a_ref_that_is_not_there(repository: Path, work: Path) -> None:
    with pytest.raises(PlanRefused, match="has no branch or tag 'v2'"):
        build_release(parse_source(str(repository), "v2"), {}, work)
    with pytest.raises(PlanRefused, match="cannot be used"):
        build_release(parse_source(str(repository), "1" * 40), {}, work)
    with pytest.raises(PlanRefused, match="cannot be used"):
        build_release(parse_source(f"{repository}-not", "v1"), {}, work)
    assert [p.name for p in (work / "builds").iterdir() if not p.name.startswith(".lock")] == []


def test_a_repository_whose_server_is_down_is_worth_another_try(work: Path) -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1") as down:
        build_release(parse_source("https://t0ken@127.0.0.1:1/a.git", "v1"), {}, work)
    assert "t0ken" not in str(down.value)


def test_credentials_are_in_no_argument(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    really = subprocess.Popen

    def spy(argv: list[str], **options: object) -> object:
        seen.extend(argv)
        return really(argv, **options)  # type: ignore[call-overload]  # passed on as it came

    monkeypatch.setattr(subprocess, "Popen", spy)
    with pytest.raises(Unreachable):
        build_release(parse_source("https://t0ken@127.0.0.1:1/a.git", "v1"), {}, work)
    assert seen
    assert "t0ken" not in " ".join(seen)


@pytest.fixture
def private(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Private]:
    """A git server that wants a login, and a home of the worker's own."""
    git("clone", "--bare", str(repository), str(tmp_path / "private.git"), cwd=tmp_path)
    git("update-server-info", cwd=tmp_path / "private.git")
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    serve = functools.partial(Guarded, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield Private(server.server_port, tmp_path / "home")
        server.shutdown()


@pytest.mark.parametrize("user", ["me@", ""], ids=["a user name", "none"])
def test_git_finds_the_login_in_the_workers_credential_store(private: Private, work: Path, user: str) -> None:
    source = f"http://{user}127.0.0.1:{private.port}/private.git"
    with pytest.raises(PlanRefused, match="cannot be used"):
        build_release(parse_source(source, "main"), {}, work)
    (private.home / ".gitconfig").write_text("[credential]\n\thelper = store\n")
    (private.home / ".git-credentials").write_text(
        f"http://other:wrong@127.0.0.1:{private.port}\n" * bool(user)
        + f"http://me:s3cret@127.0.0.1:{private.port}\n"
    )
    built = build_release(parse_source(source, "main"), {}, work)
    assert b"web/index.php" in built.manifest.by_path


def test_a_token_instead_of_a_user_name_needs_no_password(
    private: Private, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Guarded, "login", "t0ken:")
    built = build_release(parse_source(f"http://t0ken@127.0.0.1:{private.port}/private.git", "v1"), {}, work)
    assert b"web/index.php" in built.manifest.by_path


def test_a_build_that_was_killed_is_made_again(repository: Path, work: Path) -> None:
    commit = git("rev-parse", "HEAD", cwd=repository).strip()
    half = work / "builds" / f".new-git-{commit}"
    half.mkdir(parents=True)
    (half / "half").write_text("x")
    built = build_release(parse_source(str(repository), "main"), {}, work)
    assert not half.exists()
    assert b"half" not in built.manifest.by_path
