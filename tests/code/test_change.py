"""What is taken away and sent makes the next release of a copy of the last one, and a node sees just that."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given

from tasks.code.change import compare_manifests
from tasks.code.manifest import Entry, Manifest
from tasks.code.scan import scan_tree
from tasks.code.walks import AS_STRUCTURE, LISTING, PLAIN_DIGEST
from tests.code.manifests import manifests


@given(manifests, manifests)
def test_a_change_leads_from_one_to_the_other(old: Manifest, new: Manifest) -> None:
    change = compare_manifests(old, new)
    there = dict(old.by_path)
    for path in change.unlinked:
        assert path in there, "only what the base has is taken away"
        del there[path]
    there |= {entry.path: entry for entry in change.sent}
    assert Manifest(there.values()) == new


@given(manifests)
def test_no_change_is_no_work(manifest: Manifest) -> None:
    change = compare_manifests(manifest, manifest)
    assert not change.unlinked
    assert not change.sent


def test_directories_are_taken_away_after_what_is_in_them() -> None:
    old = Manifest([Entry(b"a", "d", 0o755), Entry(b"a/b", "d", 0o755), Entry(b"a/b/c", "l", target=b"x")])
    assert compare_manifests(old, Manifest([])).unlinked == (b"a/b/c", b"a/b", b"a")


@pytest.mark.parametrize("other", ["mode", "digest", "kind"])
def test_a_changed_file_is_taken_away_and_sent(other: str) -> None:
    # Its inode is shared with the old release: writing to it would change that one.
    old = Entry(b"a", "f", 0o644, 3, "a" * 64)
    new = {
        "mode": old._replace(mode=0o755),
        "digest": old._replace(digest="b" * 64),
        "kind": Entry(b"a", "l", target=b"b"),
    }[other]
    change = compare_manifests(Manifest([old]), Manifest([new]))
    assert change.unlinked == (b"a",)
    assert change.sent == (new,)


def test_what_may_differ_from_a_base_is_named_as_in_a_listing() -> None:
    base = Manifest(
        [
            Entry(b"gone", "f", 0o644, 1, "a" * 64),
            Entry(b"link", "l", target=b"old\ttarget"),
            Entry(b"now a file", "l", target=b"x"),
            Entry(b"same", "f", 0o644, 1, "a" * 64),
            Entry(b"other mode", "d", 0o755),
        ]
    )
    new = Manifest(
        [
            Entry(b"link", "l", target=b"new"),
            Entry(b"now a file", "f", 0o644, 1, "b" * 64),
            Entry(b"same", "f", 0o644, 1, "a" * 64),
            Entry(b"other mode", "d", 0o700),
        ]
    )
    keys = [b"gone", b"link\tnew", b"link\told\ttarget", b"now a file", b"now a file\tx", b"other mode"]
    assert compare_manifests(base, new).keys == b"".join(key + b"\0" for key in keys)


def test_a_change_is_plain_when_all_of_it_shows_in_the_structure() -> None:
    def having(*sizes: tuple[bytes, int, str]) -> Manifest:
        return Manifest(Entry(path, "f", 0o644, size, digest * 64) for path, size, digest in sizes)

    old = having((b"a", 1, "a"), (b"b", 2, "b"))
    assert compare_manifests(old, having((b"a", 3, "c"), (b"b", 2, "b"))).is_plain
    assert compare_manifests(old, having((b"a", 1, "a"), (b"c", 2, "b"))).is_plain
    assert not compare_manifests(old, having((b"a", 1, "c"), (b"b", 4, "b"))).is_plain


def look(tree: Path, listing: Path) -> None:
    shell(f"cd '{tree}' && {LISTING} >'{listing}'")


def shell(script: str) -> str:
    done = subprocess.run(["sh", "-euc", script], capture_output=True, check=True, env={"LC_ALL": "C"})
    return done.stdout.decode().strip()


def test_a_node_that_compares_two_listings_sees_the_same_structure(tmp_path: Path) -> None:
    tree, odd = tmp_path / "tree", os.fsencode(tmp_path / "tree")
    tree.mkdir()
    for name in (b"f 644 1 x\ty", b"tab\tname", b"new\nline", b"\xff", b"d 755 x\t", b"stays"):
        Path(os.fsdecode(odd + b"/" + name)).write_bytes(name)
        (tree / f"in{len(name)}").mkdir(exist_ok=True)
        os.symlink(b"tab\tname", odd + b"/l" + name)
    before = scan_tree(tree, tmp_path / "hashes")
    look(tree, tmp_path / "before")
    shutil.rmtree(tree / "in8")
    os.unlink(odd + b"/l\xff")
    os.unlink(odd + b"/ltab\tname")
    os.symlink(b"stays", odd + b"/ltab\tname")
    (tree / "tab\tname").write_bytes(b"longer than it was")
    (tree / "new\nline").chmod(0o755)
    (tree / "more\tand\tmore").write_bytes(b"x")
    after = scan_tree(tree, tmp_path / "hashes")
    look(tree, tmp_path / "after")
    seen = f"cd '{tmp_path}' && comm -z -3 before after | {AS_STRUCTURE} | sort -z | {PLAIN_DIGEST}"
    assert shell(seen) == compare_manifests(before, after).structure
    assert shell(f"cd '{tmp_path}' && {AS_STRUCTURE} <after | sort -z | {PLAIN_DIGEST}") == after.structure
