"""Collect SSH host keys for a person to compare and confirm. Nothing is trusted because it answered."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from deployments.inventory_file import read_sections
from tasks.errors import PlanRefused, Unreachable

SCAN_SECONDS = 5
# The sections whose entries are reached over SSH.
SECTIONS = ("web_servers", "nfs_servers")
# Older key types are left out: a server that has only those should get an Ed25519 key first.
KEY_TYPES = "ed25519,ecdsa,rsa"


@dataclass(frozen=True, slots=True)
class HostKey:
    """A key that a server offered: `key` is `<type> <base64>`; `pinned` says what the inventory has of it."""

    server: str
    address: str
    key: str
    pinned: bool

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -lf` prints it on the server's console."""
        digest = hashlib.sha256(base64.b64decode(self.key.split()[1])).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def scan_host_keys(address: str, port: int = 22) -> tuple[str, ...]:
    """The host keys offered at `address`, each `<type> <base64>`, best type first; or raises Unreachable."""
    command = ["ssh-keyscan", "-T", str(SCAN_SECONDS), "-t", KEY_TYPES, "-p", str(port), "--", address]
    try:
        scan = subprocess.run(command, capture_output=True, text=True, timeout=4 * SCAN_SECONDS, check=False)
    except subprocess.TimeoutExpired as late:
        raise Unreachable(address, f"ssh-keyscan did not finish in {4 * SCAN_SECONDS} s") from late
    lines = [line.split(None, 1) for line in scan.stdout.splitlines() if line and not line.startswith("#")]
    keys = sorted({line[1] for line in lines if len(line) == 2}, key=_by_preference)
    if not keys:
        raise Unreachable(address, f"port {port} offered no host key: {scan.stderr.strip() or 'no answer'}")
    return tuple(keys)


def _by_preference(key: str) -> tuple[bool, str]:
    return ("ed25519" not in key, key)


def scan_inventory(path: Path) -> tuple[HostKey, ...]:
    """Every server's best offered key beside what the inventory pins.

    Raises Unreachable, naming the server, and PlanRefused for a file that is no inventory.
    """
    found = []
    sections = read_sections(path)
    for section, name in [(each, name) for each in SECTIONS for name in sections.get(each, {})]:
        fields = sections[section][name]
        if "address" not in fields:
            raise PlanRefused(f"{path}: {section}/{name} has no address", "Say where it is reached")
        pins = {" ".join(str(pin).split()[:2]) for pin in fields.get("host_keys") or []}
        offered = scan_host_keys(str(fields["address"]), int(fields.get("ssh_port", 22)))
        key = next((key for key in offered if key in pins), offered[0])
        found.append(HostKey(name, str(fields["address"]), key, key in pins))
    return tuple(found)


def pin_host_keys(path: Path, keys: tuple[HostKey, ...]) -> None:
    """Make the confirmed keys the pinned ones of their servers in the file; its comments are kept."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096  # a key is one line: folded, nobody could compare it or search for it
    document = yaml.load(path.read_text(encoding="utf-8"))
    for server in dict.fromkeys(key.server for key in keys):
        for section in SECTIONS:
            if server in (document.get(section) or {}):
                document[section][server]["host_keys"] = [key.key for key in keys if key.server == server]
    staged = path.with_suffix(".new")
    with staged.open("w", encoding="utf-8") as stream:
        yaml.dump(document, stream)
    shutil.copymode(path, staged)
    staged.replace(path)
