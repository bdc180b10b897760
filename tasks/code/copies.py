"""A release as a node has it, brought to the controller: a new node gets what the others run, whatever has
become of the source since."""

from __future__ import annotations

import os
from pathlib import Path

from tasks.code.archive import unpack
from tasks.code.build import Built, build_once, save_manifest
from tasks.code.facts import check_release, platform_directory
from tasks.code.manifest import Manifest
from tasks.code.scan import scan_tree
from tasks.errors import Drift
from tasks.fleet import SITES
from tasks.ssh import Ssh

COPY_SECONDS = 900.0

# $2: release. The links to sites' data are each node's own, and no part of what was shipped.
_PACK = f"""
cd "$1/releases/$2"
find . -mindepth 1 \\( -type l -lname '{SITES}/*' \\) -o -print0 |
    tar --null --no-recursion -T - -cf - | gzip -1
"""


def copy_release(ssh: Ssh, platform: str, release: str, manifest: Manifest, workdir: Path) -> Built:
    """The release is a tree in the work directory, every file of it as `manifest` says; kept for the next.

    Raises Drift when the node has something else, Unreachable, CommandFailed.
    """
    shown = f"{release} of {platform} on {ssh.node.name}"

    def fetch(new: Path) -> None:
        _fetch(ssh, platform, release, new, shown)
        if scan_tree(new, new.with_name(f"{new.name}.hashes")).digest != manifest.digest:
            raise Drift(f"{shown} is not as it was deployed. Run verify-platform, then this again")

    tree = build_once(workdir, f"release-{manifest.digest}", fetch)
    save_manifest(workdir, manifest)
    return Built(shown, tree, {}, manifest)


def _fetch(ssh: Ssh, platform: str, release: str, new: Path, shown: str) -> None:
    packed = ssh.run_script(
        _PACK,
        *(platform_directory(platform), check_release(release)),
        timeout=COPY_SECONDS,
        meaning=f"cannot read {shown}",
    )
    file = new.with_name(f"{new.name}.tar.gz")
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as sink:
            sink.write(packed.out)
        unpack(file, new, shown)
    finally:
        file.unlink(missing_ok=True)
