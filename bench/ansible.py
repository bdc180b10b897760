"""Ansible's synchronize, eight forks, in a virtual environment of its own that only the benchmark uses."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from bench.bed import DESTINATION, HOME, Bed
from bench.contender import Failed, Usage, run_command

CORE = "ansible-core==2.18.19"
# The whole package that goes with that core; the one collection that is needed is taken out of it.
COLLECTIONS = "ansible==11.13.0"
COLLECTION = "ansible_collections/ansible/posix/"
INSTALL_SECONDS = 300
PLAYBOOK = """\
- hosts: all
  gather_facts: false
  tasks:
    - ansible.posix.synchronize:
        src: {source}/
        dest: {destination}/
        delete: true
        verify_host: true
        use_ssh_args: true
"""


class AnsibleSynchronize:
    """`ansible.posix.synchronize` with delete, else its defaults (archive, compressed); no facts."""

    name = "ansible"
    label = "Ansible synchronize, 8 forks"

    def __init__(self, bed: Bed, source: Path) -> None:
        self.bed = bed
        self.source = source
        self.destination = f"{DESTINATION}/{self.name}"
        self.home = HOME / "ansible"

    def prepare(self) -> None:
        """Install it where it is missing; raises Failed when that cannot be done within INSTALL_SECONDS."""
        if not (self.home / ".ready").exists():
            install(self.home)
        (self.home / "ansible.cfg").write_text("", encoding="utf-8")  # and nobody else's
        (self.home / "inventory").write_text(
            "".join(f"{n.name} ansible_host={n.address} ansible_user=root\n" for n in self.bed.nodes)
            + f"[all:vars]\nansible_ssh_private_key_file={self.bed.private_key}\n"
            # Instead of its own, which keep connections between runs.
            + f"ansible_ssh_args=-o UserKnownHostsFile={self.bed.known_hosts} -o BatchMode=yes\n",
            encoding="utf-8",
        )
        (self.home / "playbook.yml").write_text(
            PLAYBOOK.format(source=self.source, destination=self.destination), encoding="utf-8"
        )

    def reset(self) -> None:
        self.bed.remove(self.destination)

    def run(self) -> Usage:
        program = str(self.home / "venv" / "bin" / "ansible-playbook")
        files = ("-i", str(self.home / "inventory"), str(self.home / "playbook.yml"))
        return run_command((program, "--forks", "8", *files), env=self._environment())

    def settle(self) -> None:
        pass

    def close(self) -> None:
        pass

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_CONFIG": str(self.home / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.home),
            "ANSIBLE_COLLECTIONS_PATH": str(self.home / "collections"),
            "ANSIBLE_NOCOLOR": "1",
        }


def install(home: Path, *, collection: str = COLLECTION, also: Sequence[str] = ()) -> None:
    """Make `home` hold a working Ansible with one collection and the packages in `also`; raises Failed."""
    home.mkdir(parents=True, exist_ok=True)
    pip = (str(home / "venv" / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet")
    _call(sys.executable, "-m", "venv", "--clear", str(home / "venv"))
    _call(*pip, "install", CORE, *also)
    _call(*pip, "download", "--no-deps", "--only-binary", ":all:", "--dest", str(home), COLLECTIONS)
    for wheel in home.glob("ansible-*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            wanted = [name for name in archive.namelist() if name.startswith(collection)]
            archive.extractall(home / "collections", wanted)
        wheel.unlink()
    (home / ".ready").touch()


def _call(*argv: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{' '.join(argv)} did not finish in {INSTALL_SECONDS} s") from late
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv)} failed:\n{done.stderr[-1000:]}")
