"""A node's sed makes the manifest of a release out of that of its base."""

import subprocess
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings

from tasks.code.edit import write_edit
from tasks.code.manifest import HEADER, Entry, Manifest
from tests.code.manifests import manifests

FILE = Entry(b"b", "f", 0o644, 1, "a" * 64)
ONE, OTHER = Manifest([FILE]), Manifest([FILE._replace(size=2)])
MANY = Manifest([Entry(b"a", "d", 0o755), FILE, Entry(b"c", "l", target=b"b"), Entry(b"d", "d", 0o755)])


def edit(old: Manifest, new: Manifest) -> bytes:
    """What GNU sed prints, as it is called on a node."""
    with tempfile.TemporaryDirectory() as folder:
        script, lines = write_edit(old, new, ".inserted-x")
        (Path(folder) / ".edit").write_bytes(script)
        (Path(folder) / ".inserted-x").write_bytes(lines)
        done = subprocess.run(
            ["sed", "-n", "-f", ".edit"],
            input=old.text,
            cwd=folder,
            capture_output=True,
            check=True,
            env={"LC_ALL": "C"},
        )
    return done.stdout


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(manifests, manifests)
@example(ONE, OTHER)
@example(MANY, ONE)
@example(ONE, MANY)
@example(MANY, Manifest([]))
@example(Manifest([]), MANY)
def test_any_manifest_is_made_of_any_other(old: Manifest, new: Manifest) -> None:
    assert edit(old, new) == new.text
    # Most of what is drawn has nothing in common, so once with a part of the old one.
    both = Manifest({entry.path: entry for entry in (*list(old)[::2], *new)}.values())
    assert edit(old, both) == both.text
    assert edit(both, new) == new.text


def test_a_change_of_one_file_is_told_in_a_few_lines() -> None:
    many = [Entry(b"f%04d" % number, "f", 0o644, 1, "a" * 64) for number in range(5000)]
    old = Manifest(many)
    new = Manifest([*many[:2500], many[2500]._replace(digest="b" * 64), *many[2501:]])
    assert old.text.startswith(HEADER)
    assert len(b"".join(write_edit(old, new, ".inserted-x"))) < 500
    assert edit(old, new) == new.text
