"""Directories become trees, once; composer works in a copy."""

import os
from pathlib import Path

import pytest

from tasks.code.build import build_release, load_manifest, save_manifest
from tasks.code.source import parse_source
from tasks.errors import PlanRefused, Unreachable
from tests.code.building import code, repository, work

__all__ = ["code", "repository", "work"]


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
