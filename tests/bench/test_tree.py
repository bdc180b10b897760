"""The source tree is the same everywhere, and changes the same way."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.tree import (
    FILES_CHANGED,
    NODE_DIGEST,
    Tree,
    TreeSpec,
    change_tree,
    choose_changed,
    digest_tree,
    make_tree,
    plan_paths,
    plan_sizes,
)

SPEC = TreeSpec.of(400)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return make_tree(tmp_path / "tree", SPEC)


def test_the_full_size() -> None:
    spec = TreeSpec.of(20_000)
    paths = plan_paths(spec)
    assert len(set(paths)) == 20_000
    assert sum(plan_sizes(spec)) == 153_000_000
    assert 3 <= min(path.count("/") for path in paths) <= max(path.count("/") for path in paths) <= 8


@given(st.integers(min_value=1, max_value=500), st.integers(min_value=0, max_value=10**6))
def test_sizes_add_up(files: int, spare: int) -> None:
    sizes = plan_sizes(TreeSpec(files, files * 400 + spare))
    assert len(sizes) == files
    assert sum(sizes) == files * 400 + spare
    assert min(sizes) >= 400


def test_no_path_is_a_directory_of_another() -> None:
    paths = plan_paths(SPEC)
    folders = {path.rpartition("/")[0] for path in paths}
    assert not folders & set(paths)


def test_it_is_as_planned(tree: Tree) -> None:
    found = {file.relative_to(tree.root).as_posix(): file for file in tree.root.rglob("*") if file.is_file()}
    assert tuple(sorted(found)) == tree.paths == plan_paths(SPEC)
    assert sum(file.stat().st_size for file in found.values()) == SPEC.size
    assert all(file.read_bytes().startswith(b"<?php\n") for file in found.values())


def test_it_is_the_same_again_whatever_was_there(tree: Tree) -> None:
    before = digest_tree(tree.root)
    change_tree(tree, 1)
    (tree.root / "stray").write_text("left over")
    make_tree(tree.root, SPEC)
    assert digest_tree(tree.root) == before


def test_another_seed_is_another_tree() -> None:
    assert plan_paths(TreeSpec(400, SPEC.size, seed=1)) != plan_paths(SPEC)


def test_a_change_touches_what_it_says(tree: Tree) -> None:
    before = {path: (tree.root / path).read_bytes() for path in tree.paths}
    changed = change_tree(tree, 1)
    after = {path: (tree.root / path).read_bytes() for path in tree.paths}
    assert {path for path in tree.paths if before[path] != after[path]} == set(changed)
    assert len(changed) == FILES_CHANGED
    assert changed == choose_changed(SPEC, tree.paths, 1)


def test_every_round_changes_other_files() -> None:
    paths = plan_paths(SPEC)
    assert choose_changed(SPEC, paths, 1) != choose_changed(SPEC, paths, 2)


def test_a_node_computes_the_same_digest(tree: Tree) -> None:
    printed = subprocess.run(
        ["sh", "-euc", NODE_DIGEST, "sh", tree.root], capture_output=True, text=True, check=True
    )
    assert printed.stdout.split()[0] == digest_tree(tree.root)
