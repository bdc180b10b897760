"""From a source to a tree on the controller, ready to be sent; built once however often it is asked for.

In the work directory: `builds/<what it is made of>` (complete, or not there), `manifests/<digest>`, and
`hashes/`. All of it may be deleted at any time; it is made again.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.code.archive import check_digest, download, single_top, unpack
from tasks.code.git import checkout, resolve_ref
from tasks.code.local import run_local
from tasks.code.manifest import Manifest, new_hash, recall_manifest
from tasks.code.scan import scan_tree
from tasks.code.source import SourceSpec, without_secrets
from tasks.errors import PlanRefused, Unreachable

log = logging.getLogger(__name__)

COMPOSER_SECONDS = 1200.0
# composer's own exit status for a download that failed.
COMPOSER_TRANSPORT = 100
UNUSED_SECONDS = 14 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Built:
    """A tree that can be staged, with the overlay that belongs to it; `notes` are for the operator."""

    source: str
    tree: Path
    overlay: Mapping[str, bytes]
    manifest: Manifest
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        size = f"{self.manifest.files} files, {self.manifest.size:,} bytes"
        return "; ".join((f"{self.source}: {size}, content {self.manifest.digest[:12]}", *self.notes))


def build_release(
    spec: SourceSpec,
    overlay: Mapping[str, bytes],
    workdir: Path,
    *,
    composer: bool = True,
    excluded: Iterable[str] = (),
) -> Built:
    """Return the source as a tree with its manifest; what was built before is used again.

    A directory is used in place, unless composer has to work in it: then in a copy. `composer` asks for
    `composer install` where there is a composer.json. `excluded` are anchored paths that are data, not code.
    Raises PlanRefused for a source that cannot be deployed, Unreachable for one that cannot be fetched.
    """
    workdir.mkdir(parents=True, exist_ok=True, mode=0o700)
    built = _fetch(spec, overlay, workdir, tuple(excluded))
    if composer and (built.tree / "composer.json").is_file():
        built = _with_packages(built, overlay, workdir, tuple(excluded))
    save_manifest(workdir, built.manifest)
    return built


def save_manifest(workdir: Path, manifest: Manifest) -> None:
    """The manifest can be found again by its digest."""
    file = workdir / "manifests" / manifest.digest
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{file.name}.{os.getpid()}.new")
        new.write_bytes(manifest.text)
        new.replace(file)


def load_manifest(workdir: Path, digest: str) -> Manifest | None:
    """Return the manifest with this digest, or None when it is not (or no longer intact) here."""
    try:
        manifest = recall_manifest((workdir / "manifests" / digest).read_bytes())
    except OSError:
        return None
    return manifest if manifest.digest == digest else None


def _fetch(spec: SourceSpec, overlay: Mapping[str, bytes], workdir: Path, excluded: tuple[str, ...]) -> Built:
    if spec.kind == "directory":
        tree, shown = _check_directory(Path(spec.location)), str(spec)
    elif spec.kind == "git":
        commit = resolve_ref(spec)
        tree = build_once(workdir, f"git-{commit}", lambda new: _check_out(spec, commit, new))
        shown = f"{spec} ({commit[:12]})"
    else:
        tree, shown = single_top(_fetch_archive(spec, workdir)), str(spec)
    return Built(shown, tree, dict(overlay), _scan(tree, overlay, workdir, excluded))


def _scan(tree: Path, overlay: Mapping[str, bytes], workdir: Path, excluded: tuple[str, ...]) -> Manifest:
    cache = workdir / "hashes" / new_hash(os.fsencode(tree.resolve())).hexdigest()[:32]
    return scan_tree(tree, cache, overlay=overlay, excluded=excluded)


def _check_directory(tree: Path) -> Path:
    if not tree.exists():
        raise PlanRefused(
            f"the source {tree} is not there", "Is it mounted on the controller? Nothing was touched"
        )
    if not tree.is_dir():
        raise PlanRefused(f"the source {tree} is not a directory", "Archives are known by their ending")
    return tree


def _check_out(spec: SourceSpec, commit: str, new: Path) -> None:
    checkout(spec, commit, new)
    shutil.rmtree(new / ".git")


def _fetch_archive(spec: SourceSpec, workdir: Path) -> Path:
    if spec.is_url:
        return build_once(workdir, f"archive-{spec.checksum}", lambda new: _download_and_unpack(spec, new))
    file = Path(spec.location)
    digest = check_digest(file, spec.checksum, str(spec))
    return build_once(workdir, f"archive-{digest}", lambda new: unpack(file, new, str(spec)))


def _download_and_unpack(spec: SourceSpec, new: Path) -> None:
    file = new.with_name(f"{new.name}.download")
    try:
        download(spec, file)
        check_digest(file, spec.checksum, str(spec))
        unpack(file, new, str(spec))
    finally:
        file.unlink(missing_ok=True)


def _with_packages(
    built: Built, overlay: Mapping[str, bytes], workdir: Path, excluded: tuple[str, ...]
) -> Built:
    vendor = built.tree / _vendor_directory(built.tree)
    if shutil.which("composer") is None:
        if not vendor.is_dir():
            raise PlanRefused(
                f"{built.source} has a composer.json and no {vendor.name}/, and composer is missing here",
                "Install composer on the controller, or ship the packages with the source",
            )
        return replace(
            built, notes=(*built.notes, f"composer is not installed: {vendor.name}/ is used as it is")
        )
    plain = _scan(built.tree, {}, workdir, excluded)
    key = f"composer-{plain.digest}"
    tree = build_once(workdir, key, lambda new: _install_packages(plain, built.tree, new, built.source))
    notes = (*built.notes, "composer install was run")
    return Built(built.source, tree, built.overlay, _scan(tree, overlay, workdir, excluded), notes)


def _vendor_directory(tree: Path) -> str:
    try:
        settings = json.loads((tree / "composer.json").read_bytes())
        return str(settings.get("config", {}).get("vendor-dir", "vendor"))
    except (OSError, ValueError, AttributeError) as broken:
        raise PlanRefused(f"the composer.json of {tree} cannot be read: {broken}") from broken


def _install_packages(manifest: Manifest, tree: Path, new: Path, shown: str) -> None:
    _copy_tree(manifest, os.fsencode(tree), os.fsencode(new))
    result = run_local(
        ["composer", "install", "--no-dev", "--no-interaction", "--no-progress"],
        timeout=COMPOSER_SECONDS,
        waiting_for="composer's repositories",
        cwd=new,
        env={"COMPOSER_ALLOW_SUPERUSER": "1"},
    )
    if not result.ok:
        said = without_secrets("\n".join((result.error_text or result.text).splitlines()[-10:]))
        if result.status == COMPOSER_TRANSPORT:
            raise Unreachable("composer's repositories", said)
        raise PlanRefused(
            f"composer install failed for {shown}:\n{said}\n", "Nothing was touched on any node"
        )


def _copy_tree(manifest: Manifest, tree: bytes, new: bytes) -> None:
    os.makedirs(new, exist_ok=True)
    for entry in manifest:
        source, copy = os.path.join(tree, entry.path), os.path.join(new, entry.path)
        if entry.kind == "d":
            os.mkdir(copy)
        elif entry.kind == "l":
            os.symlink(entry.target, copy)
        else:
            shutil.copy2(source, copy)


def build_once(workdir: Path, key: str, make: Callable[[Path], None]) -> Path:
    """`builds/<key>` is there and complete: made under another name, then renamed; one maker at a time."""
    builds = workdir / "builds"
    builds.mkdir(parents=True, exist_ok=True)
    done, new = builds / key, builds / f".new-{key}"
    with _locked(builds / f".lock-{key}"):
        if not done.is_dir():
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            try:
                make(new)
            except BaseException:
                shutil.rmtree(new, ignore_errors=True)
                raise
            new.rename(done)
        os.utime(done)
    _remove_unused(builds)
    return done


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as handle:
        # The holder's own waits are bounded, and the kernel drops the lock when it dies.
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _remove_unused(builds: Path) -> None:
    oldest = time.time() - UNUSED_SECONDS
    for build in builds.iterdir():
        with suppress(OSError):
            if build.is_dir() and build.stat().st_mtime < oldest:
                log.info("removing the build %s, not used for two weeks", build.name)
                shutil.rmtree(build, ignore_errors=True)
