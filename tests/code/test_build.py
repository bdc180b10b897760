"""Directories, real git repositories, real archives and composer become trees, once."""

import base64
import functools
import hashlib
import http.server
import io
import os
import stat
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.code import archive
from tasks.code.build import build_release, load_manifest, save_manifest
from tasks.code.source import parse_source
from tasks.errors import PlanRefused, Unreachable


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


@pytest.fixture
def code(tmp_path: Path) -> Path:
    root = tmp_path / "code"
    (root / "web").mkdir(parents=True)
    (root / "web/index.php").write_text("<?php echo 1;")
    (root / "web/link").symlink_to("index.php")
    return root


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


def git(*words: str, cwd: Path) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", *identity, *words], cwd=cwd, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def repository(code: Path) -> Path:
    git("init", cwd=code)
    git("add", ".", cwd=code)
    git("commit", "-m", "one", cwd=code)
    git("tag", "-a", "v1", "-m", "v1", cwd=code)
    (code / "web/index.php").write_text("<?php echo 2;")
    git("commit", "-am", "two", cwd=code)
    return code


def packed(file: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_a_directory_is_used_in_place(code: Path, work: Path) -> None:
    built = build_release(parse_source(str(code)), {"web/conf.php": b"x"}, work)
    assert built.tree == code
    assert b"web/conf.php" in built.manifest.by_path
    assert load_manifest(work, built.manifest.digest) == built.manifest
    assert not (work / "builds").exists()


@pytest.mark.parametrize("what", ["missing", "file", "empty"])
def test_directories_that_are_none(tmp_path: Path, work: Path, what: str) -> None:
    source = tmp_path / "source"
    if what == "file":
        source.write_text("x")
    elif what == "empty":
        source.mkdir()
    with pytest.raises(PlanRefused, match=r"is not there|is not a directory|is empty"):
        build_release(parse_source(str(source)), {}, work)


def test_a_damaged_manifest_is_not_used(code: Path, work: Path) -> None:
    manifest = build_release(parse_source(str(code)), {}, work).manifest
    (work / "manifests" / manifest.digest).write_bytes(manifest.text.replace(b"index", b"outdex"))
    assert load_manifest(work, manifest.digest) is None
    assert load_manifest(work, "0" * 64) is None
    (work / "manifests" / manifest.digest).unlink()
    save_manifest(work, manifest)
    assert load_manifest(work, manifest.digest) == manifest


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
        threading.Thread(target=server.serve_forever, daemon=True).start()
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


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "zip"])
def test_archives(code: Path, tmp_path: Path, work: Path, ending: str) -> None:
    file = tmp_path / f"code.{ending}"
    if ending == "zip":
        with zipfile.ZipFile(file, "w") as zipped:
            zipped.write(code / "web/index.php", "code-1.0/web/index.php")
            link = zipfile.ZipInfo("code-1.0/web/link")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            zipped.writestr(link, "index.php")
    else:
        with tarfile.open(file, "w:gz" if ending.endswith("gz") else "w") as tar:
            tar.add(code, "code-1.0")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    built = build_release(parse_source(str(file), checksum=digest), {}, work)
    assert built.tree.name == "code-1.0"
    assert built.manifest == build_release(parse_source(str(code)), {}, work).manifest


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (member("../evil"), "leaves"),
        (member("a/../../evil"), "leaves"),
        (member("/etc/evil"), "leaves"),
        (member("dev", tarfile.CHRTYPE), "device"),
        (member("pipe", tarfile.FIFOTYPE), "device"),
        (member("link", tarfile.SYMTYPE, "/etc/passwd"), "absolute"),
        (member("a/link", tarfile.SYMTYPE, "../../x"), "leaves"),
        (member("hard", tarfile.LNKTYPE, "/etc/passwd"), "cannot be unpacked|not in it"),
        (member("hard", tarfile.LNKTYPE, "../../etc/passwd"), "cannot be unpacked|not in it"),
    ],
)
def test_archives_that_are_not_harmless(tmp_path: Path, work: Path, bad: tarfile.TarInfo, said: str) -> None:
    file = packed(tmp_path / "bad.tar.gz", (member("good"), b"x"), (bad, b""))
    with pytest.raises(PlanRefused, match=said):
        build_release(parse_source(str(file)), {}, work)
    assert not (tmp_path / "evil").exists()
    assert [p.name for p in (work / "builds").iterdir() if not p.name.startswith(".lock")] == []


def test_nothing_is_written_through_a_link(tmp_path: Path, work: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    file = packed(
        tmp_path / "bad.tar.gz",
        (member("x/y", tarfile.SYMTYPE, "z"), b""),
        (member("x/z", tarfile.SYMTYPE, str(outside)), b""),
        (member("x/y/evil"), b"x"),
    )
    with pytest.raises(PlanRefused):
        build_release(parse_source(str(file)), {}, work)
    assert list(outside.iterdir()) == []


def test_archives_that_are_broken_or_wrong(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = packed(tmp_path / "a.tar.gz", (member("a"), os.urandom(5000)))
    with pytest.raises(PlanRefused, match=r"checksum of .* is wrong"):
        build_release(parse_source(str(file), checksum="0" * 64), {}, work)
    monkeypatch.setattr(archive, "UNPACKED_BYTES", 4000)
    with pytest.raises(PlanRefused, match="unpacks to more than"):
        build_release(parse_source(str(file)), {}, work)
    monkeypatch.undo()
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(PlanRefused, match="cannot be unpacked"):
        build_release(parse_source(str(file)), {}, work)
    with pytest.raises(PlanRefused, match="cannot be read"):
        build_release(parse_source(str(tmp_path / "not.zip")), {}, work)


class Files(http.server.BaseHTTPRequestHandler):
    content = b""

    def do_GET(self) -> None:
        status = {"/gone.zip": 404, "/busy.zip": 503}.get(self.path, 200)
        self.send_response(status)
        self.end_headers()
        if status == 200:
            self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def web(code: Path, tmp_path: Path) -> Iterator[str]:
    file = packed(tmp_path / "served.tar.gz", (member("web/index.php"), b"<?php"))
    Files.content = file.read_bytes()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_downloads(web: str, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = hashlib.sha256(Files.content).hexdigest()
    built = build_release(parse_source(f"{web}/a.tar.gz", checksum=digest), {}, work)
    assert built.manifest.files == 1
    with pytest.raises(PlanRefused, match="checksum"):
        build_release(parse_source(f"{web}/a.tar.gz", checksum="0" * 64), {}, work)
    with pytest.raises(PlanRefused, match="404"):
        build_release(parse_source(f"{web}/gone.zip", checksum="1" * 64), {}, work)
    with pytest.raises(Unreachable, match="503"):
        build_release(parse_source(f"{web}/busy.zip", checksum="1" * 64), {}, work)
    monkeypatch.setattr(archive, "DOWNLOAD_BYTES", 10)
    with pytest.raises(PlanRefused, match="larger than 10"):
        build_release(parse_source(f"{web}/b.tar.gz", checksum="2" * 64), {}, work)
    assert not list((work / "builds").glob("*.download"))


def fake_composer(folder: Path, script: str) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "composer").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "composer").chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def test_composer_works_in_a_copy_and_once(
    code: Path, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code / "composer.json").write_text("{}")
    script = f'echo "$@" >>{tmp_path}/calls; mkdir -p vendor; echo 1 >vendor/autoload.php'
    monkeypatch.setenv("PATH", fake_composer(tmp_path / "bin", script))
    built = build_release(parse_source(str(code)), {}, work)
    assert b"vendor/autoload.php" in built.manifest.by_path
    assert not (code / "vendor").exists()
    assert build_release(parse_source(str(code)), {}, work).manifest == built.manifest
    assert (tmp_path / "calls").read_text() == "install --no-dev --no-interaction --no-progress\n"
    assert "composer install was run" in str(built)
    assert build_release(parse_source(str(code)), {}, work, composer=False).tree == code


def test_composer_that_fails(code: Path, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code / "composer.json").write_text("{}")
    monkeypatch.setenv("PATH", fake_composer(tmp_path / "bin", "echo no such package >&2; exit 2"))
    with pytest.raises(PlanRefused, match="no such package"):
        build_release(parse_source(str(code)), {}, work)
    monkeypatch.setenv("PATH", fake_composer(tmp_path / "bin", "exit 100"))
    with pytest.raises(Unreachable):
        build_release(parse_source(str(code)), {}, work)


def test_without_composer_the_packages_must_be_there(
    code: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)
    (code / "composer.json").write_text('{"config": {"vendor-dir": "lib"}}')
    with pytest.raises(PlanRefused, match="no lib/, and composer is missing"):
        build_release(parse_source(str(code)), {}, work)
    (code / "lib").mkdir()
    built = build_release(parse_source(str(code)), {}, work)
    assert built.notes == ("composer is not installed: lib/ is used as it is",)
    (code / "composer.json").write_text("{")
    with pytest.raises(PlanRefused, match=r"composer\.json .* cannot be read"):
        build_release(parse_source(str(code)), {}, work)


def test_builds_that_nobody_used_for_long_go(repository: Path, work: Path) -> None:
    first = build_release(parse_source(str(repository), "v1"), {}, work).tree
    os.utime(first, (1, 1))
    second = build_release(parse_source(str(repository), "main"), {}, work).tree
    assert not first.exists()
    assert second.exists()
