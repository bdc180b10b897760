"""Releases from real archives, harmless and not, from a path and by HTTP."""

import hashlib
import http.server
import io
import os
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.code import archive
from tasks.code.build import build_release
from tasks.code.source import parse_source
from tasks.errors import PlanRefused, Unreachable
from tests.code.building import code, work

__all__ = ["code", "work"]


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
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
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
