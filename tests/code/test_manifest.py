"""A manifest survives being written down, and b2sum on a node understands it."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.code.manifest import (
    DamagedManifest,
    Entry,
    Manifest,
    compare_manifests,
    escape,
    new_hash,
    parse_manifest,
    unescape,
)

names = st.binary(min_size=1, max_size=255).map(lambda b: b.replace(b"\0", b"0").replace(b"/", b"_"))
paths = st.lists(names, min_size=1, max_size=3).map(b"/".join)
digests = st.binary(max_size=8).map(lambda b: new_hash(b).hexdigest())
entries = st.one_of(
    paths.map(lambda path: Entry(path, "d", 0o755)),
    st.tuples(paths, st.sampled_from([0o644, 0o755]), st.integers(0, 1 << 40), digests).map(
        lambda f: Entry(f[0], "f", f[1], f[2], f[3])
    ),
    st.tuples(paths, paths).map(lambda link: Entry(link[0], "l", target=link[1])),
)
manifests = st.lists(entries, unique_by=lambda e: e.path).map(Manifest)


@given(manifests)
def test_what_is_written_can_be_read_back(manifest: Manifest) -> None:
    assert parse_manifest(manifest.text) == manifest
    assert parse_manifest(b"#: content abc\n#: listing def\n" + manifest.text) == manifest


@given(st.binary())
def test_escaping_is_undone(name: bytes) -> None:
    assert b"\n" not in escape(name)
    assert unescape(escape(name)) == name


@given(st.binary(max_size=300))
def test_garbage_is_an_error_and_nothing_else(garbage: bytes) -> None:
    with suppress(DamagedManifest):
        parse_manifest(garbage)


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


def test_b2sum_reads_it(tmp_path: Path) -> None:
    # Only a name that ends in a carriage return is beyond it: coreutils 9.1 takes that for a line end.
    odd = [b"plain", b"new\nline", b"back\\slash", b"\xff\xfe", b"#hash", b" space ", b"x" * 255, b"-n"]
    made = []
    for name in odd:
        (Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name)))).write_bytes(name)
        made.append(Entry(name, "f", 0o644, len(name), new_hash(name).hexdigest()))
    check = Manifest([*made, Entry(b"link\nhere", "l", target=b"plain")]).text
    done = subprocess.run(
        ["b2sum", "--check", "--strict", "--quiet"],
        input=check,
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b""), done.stderr
